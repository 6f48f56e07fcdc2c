#pragma once

#include "image/decoders.h"

namespace gondola {

/// The EXIF orientation (1 to 8, TIFF tag 274) in a JPEG's APP1 segment, a PNG's eXIf chunk or a WebP's EXIF chunk; 1
/// if there is none or it is damaged.
int exif_orientation(ImageBytes file);

/// Turns and mirrors the image upright, like Pillow's ImageOps.exif_transpose (which also reads XMP
/// and the text chunks of older PNGs).
Image apply_orientation(Image image, int orientation);

}  // namespace gondola
