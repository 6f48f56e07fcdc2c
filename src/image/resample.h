#pragma once

#include "image/image.h"

namespace gondola {

enum class Interpolation { nearest, bilinear, bicubic };

/// A rectangle of output pixels.
struct Window {
  int left = 0, top = 0, width = 0, height = 0;
};

/// A rectangle of source pixels, possibly fractional.
struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
};

/// Pillow's Image.resize((width, height), interpolation, box), bit for bit, of which only `window` is computed: two
/// passes with antialiased coefficients in 22-bit fixed point and 8-bit rounding between them
/// (src/libImaging/Resample.c). As in Pillow, palette and bilevel images are resampled by nearest neighbour, and those
/// with alpha premultiplied.
Image resize(const Image& image, int width, int height, Interpolation interpolation, const Box& box,
             const Window& window);

/// The whole image to the whole result.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

}  // namespace gondola
