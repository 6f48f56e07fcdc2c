#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// The modes in which Pillow opens the supported files; resampling and conversion depend on them.
enum class PixelMode {
  bilevel,     ///< Pillow "1": one byte a pixel, 0 or 255
  grey,        ///< "L"
  grey_alpha,  ///< "LA"
  palette,     ///< "P": indices into Image::palette
  rgb,         ///< "RGB"
  rgba,        ///< "RGBA"
  cmyk,        ///< "CMYK", as Pillow has it after decoding (Adobe's inversion undone)
  grey16,      ///< "I;16": two bytes a pixel, little endian
};

struct Image {
  PixelMode mode = PixelMode::rgb;
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;   ///< row-major, interleaved, without row padding
  std::vector<std::uint8_t> palette;  ///< palette mode: up to 256 × RGBA

  int bytes_per_pixel() const;
};

/// Pillow's limit for a decompression bomb.
inline constexpr std::int64_t default_pixel_limit = 178'956'970;

struct DecodeOptions {
  std::int64_t pixel_limit = default_pixel_limit;  ///< larger images are refused before they are decoded
  bool apply_exif_orientation = false;             ///< the reference pipelines ignore it
};

/// Decodes JPEG, PNG, WebP, GIF (first frame) or BMP, told by the content, to the pixels and mode that Pillow 13 opens
/// it with. `name` stands in messages. Throws Error for anything else, and for truncated or damaged files.
Image decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options = {});

/// Reads and decodes a file.
Image load_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Pillow's Image.convert("RGB").
Image to_rgb(const Image& image);

}  // namespace gondola
