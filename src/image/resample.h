#pragma once

#include "image/image.h"

namespace gondola {

enum class Interpolation { nearest, bilinear, bicubic };

/// Pillow's Image.resize((width, height), interpolation), bit for bit, but computes only `window` (in pixels of the
/// result): two passes with antialiased coefficients in 22-bit fixed point and 8-bit rounding between them
/// (src/libImaging/Resample.c). As in Pillow, palette and bilevel images are resampled by nearest neighbour, images
/// with alpha premultiplied, 16-bit images in double precision. Throws Error when the window lies outside, when an axis
/// needs more than 2^24 weights, or when nearest neighbour would walk more than 2^27 pixels.
Image resize(const Image& image, int width, int height, Interpolation interpolation, const Window& window);

/// Computes the whole result.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

}  // namespace gondola
