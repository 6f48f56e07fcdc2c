#pragma once

#include "image/image.h"

namespace gondola {

bool has_alpha(PixelMode mode);

/// Pillow's conversion of "LA" and "RGBA" to "La" and "RGBa", in which it resamples them: colours times alpha / 255.
Image premultiply(const Image& image);

/// Back again: colours times 255 / alpha, truncated and clipped.
Image unpremultiply(Image image);

}  // namespace gondola
