#pragma once

#include "image/image.h"

namespace gondola {

enum class Interpolation { nearest, bilinear, bicubic };

/// Pillow's Image.resize((width, height), interpolation), bit for bit, of which only `window` (in pixels of the
/// result) is computed: two passes with antialiased coefficients in 22-bit fixed point and 8-bit rounding between them
/// (src/libImaging/Resample.c). As in Pillow, palette and bilevel images are resampled by nearest neighbour, those with
/// alpha premultiplied, 16-bit ones in double precision. Throws Error when the window lies outside, when an axis needs
/// more than 2^24 weights, or when nearest neighbour would walk more than 2^27 pixels.
Image resize(const Image& image, int width, int height, Interpolation interpolation, const Window& window);

/// All of the result.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

}  // namespace gondola
