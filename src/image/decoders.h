#pragma once

// The decoders behind decode_image, one per format, each in its own file. All check the pixel limit on the header
// alone, before they allocate anything of the image's size, and throw Error for truncated or damaged data.

#include "image/image.h"

namespace gondola {

using ImageBytes = std::span<const std::uint8_t>;

Image decode_jpeg(ImageBytes bytes, std::string_view name, const DecodeOptions& options);
Image decode_png(ImageBytes bytes, std::string_view name, const DecodeOptions& options);
Image decode_webp(ImageBytes bytes, std::string_view name, const DecodeOptions& options);
Image decode_gif(ImageBytes bytes, std::string_view name, const DecodeOptions& options);
Image decode_bmp(ImageBytes bytes, std::string_view name, const DecodeOptions& options);

bool starts_with(ImageBytes bytes, std::string_view prefix);

/// Throws Error unless 0 < width · height <= options.pixel_limit.
void check_dimensions(std::int64_t width, std::int64_t height, std::string_view name, const DecodeOptions& options);

/// Pillow's convert("RGBA") of an image that has transparency.
Image to_rgba(const Image& image);

/// An opaque black palette of 256 entries.
std::vector<std::uint8_t> make_palette();

}  // namespace gondola
