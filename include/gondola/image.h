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

/// An image as a program has it: a file's path, a file in memory, or pixels. Of an animation the first frame counts,
/// and what EXIF would turn is taken as it is stored. What it refers to must live until the call that it is given to
/// returns, which throws Error for an RgbImage with another number of bytes.
using ImageInput = std::variant<std::filesystem::path, EncodedImage, RgbImage>;

}  // namespace gondola
