#pragma once

#include <gondola/image.h>

#include "image/image.h"

namespace gondola {

/// Reads or decodes what the caller gave. Throws Error.
Image decode_input(const ImageInput& input);

}  // namespace gondola
