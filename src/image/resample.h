#pragma once

#include "image/image.h"

namespace gondola {

enum class Interpolation { nearest, bilinear, bicubic };

/// A rectangle of source pixels, possibly fractional; Pillow keeps it in single precision.
struct Box {
  float left = 0, top = 0, right = 0, bottom = 0;
  bool operator==(const Box&) const = default;
};

/// Pillow's Image.resize((width, height), interpolation, box), bit for bit, of which only `window` (in pixels of the
/// result) is computed: two passes with antialiased coefficients in 22-bit fixed point and 8-bit rounding between them
/// (src/libImaging/Resample.c). As in Pillow, palette and bilevel images are resampled by nearest neighbour, those with
/// alpha premultiplied, 16-bit ones in double precision. Throws Error when the box or the window lies outside, or when
/// the coefficients would take more memory than Pillow allows.
Image resize(const Image& image, int width, int height, Interpolation interpolation, const Box& box,
             const Window& window);

/// The whole image to a window of the result.
Image resize(const Image& image, int width, int height, Interpolation interpolation, const Window& window);

/// The whole image to the whole result.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

}  // namespace gondola
