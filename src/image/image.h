#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/pixels.h"

namespace gondola {

/// The modes in which Pillow opens the supported files; resampling and conversion depend on them.
enum class PixelMode {
  bilevel,     ///< Pillow "1": one byte per pixel, 0 or 255
  grey,        ///< "L"
  grey_alpha,  ///< "LA"
  palette,     ///< "P": indices into Image::palette
  rgb,         ///< "RGB"
  rgba,        ///< "RGBA"
  cmyk,        ///< "CMYK" as Pillow decodes it (Adobe's inversion undone)
  grey16,      ///< "I;16": two bytes per pixel, little endian
};

int bytes_per_pixel(PixelMode mode);
bool has_alpha(PixelMode mode);

struct Image {
  PixelMode mode = PixelMode::rgb;
  int width = 0, height = 0;
  Pixels pixels;                      ///< row-major, interleaved, without row padding
  std::vector<std::uint8_t> palette;  ///< palette mode: 256 × RGBA; entries that the file lacks are opaque black
  /// The colour that a file without an alpha channel declares transparent (PNG's tRNS chunk, GIF's grey palettes); in
  /// grey modes only the first value counts.
  std::optional<std::array<std::uint16_t, 3>> transparent_colour;

  int bytes_per_pixel() const { return gondola::bytes_per_pixel(mode); }
  /// Bytes from one row to the next.
  std::size_t row_bytes() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(bytes_per_pixel());
  }
  const std::uint8_t* row(int y) const { return pixels.data() + static_cast<std::size_t>(y) * row_bytes(); }
  std::uint8_t* row(int y) { return pixels.data() + static_cast<std::size_t>(y) * row_bytes(); }
};

/// An image of zeros.
Image make_image(PixelMode mode, int width, int height);

/// An image whose pixels are all still to be written.
Image make_uninitialised_image(PixelMode mode, int width, int height);

/// The same, with the mode, palette and transparent colour of `image` but another size.
Image make_image_like(const Image& image, int width, int height);
Image make_uninitialised_image_like(const Image& image, int width, int height);

/// A rectangle of pixels.
struct Window {
  int left = 0, top = 0, width = 0, height = 0;
};

/// Pillow's Image.crop; the window must lie inside the image.
Image crop(const Image& image, const Window& window);

/// Whether the bytes start like an image in a format that decode_image knows.
bool is_image(std::span<const std::byte> bytes);

struct DecodeOptions {
  /// Larger images are refused before they are decoded; the default is Pillow's limit for a decompression bomb.
  std::int64_t pixel_limit = 178'956'970;
  bool apply_exif_orientation = false;  ///< the reference pipelines ignore it
};

/// Decodes JPEG, PNG, WebP, GIF (first frame) or BMP, recognised by content, to the same pixels and mode as Pillow 13.
/// `name` is for messages. Throws Error for anything else, and for truncated or damaged files, even some that Pillow
/// reads: a PNG with a wrong checksum.
Image decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options = {});

/// Reads and decodes a file.
Image load_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// Pillow's Image.convert("RGB"): transparency is dropped, 16-bit grey clipped to 255.
Image to_rgb(Image image);

/// What transformers 5 does instead: an image with transparency is first composited onto white.
Image to_rgb_over_white(Image image);

}  // namespace gondola
