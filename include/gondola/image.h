#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <variant>

namespace gondola {

/// The bytes of a JPEG, PNG, WebP, GIF or BMP file.
struct EncodedImage {
  std::span<const std::byte> bytes;
};

/// Pixels: height × width × 3 bytes (red, green, blue), row by row.
struct RgbImage {
  int width = 0, height = 0;
  std::span<const std::uint8_t> pixels;
};

/// An input image: the path of a file, a file in memory, or decoded pixels. Of an animation only the first frame is
/// used, and EXIF orientation is ignored. The memory that it refers to must stay valid until the call that takes it
/// returns. That call throws Error if the pixels of an RgbImage are not height × width × 3 bytes.
using ImageInput = std::variant<std::filesystem::path, EncodedImage, RgbImage>;

}  // namespace gondola
