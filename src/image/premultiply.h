#pragma once

#include "image/image.h"

namespace gondola {

/// (a·b + 127) / 255 for bytes, like Pillow's MULDIV255.
inline int multiply_255(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/// Pillow's conversion of "LA" and "RGBA" to "La" and "RGBa", in which it resamples them: colours times alpha / 255.
Image premultiply(Image image);

/// The inverse: colours times 255 / alpha, truncated and clipped.
Image unpremultiply(Image image);

}  // namespace gondola
