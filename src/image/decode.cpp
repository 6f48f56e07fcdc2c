#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "image/decoders.h"
#include "image/orientation.h"

namespace gondola {
namespace {

using Decoder = Image (*)(ImageBytes, std::string_view, const DecodeOptions&);

/// Chooses a decoder by the signatures that Pillow's plugins accept; nullptr if none matches.
Decoder find_decoder(ImageBytes bytes) {
  if (starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg;
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png;
  if (starts_with(bytes, "RIFF") && bytes.size() > 8 && starts_with(bytes.subspan(8), "WEBP")) return decode_webp;
  if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a")) return decode_gif;
  if (starts_with(bytes, "BM")) return decode_bmp;
  return nullptr;
}

/// The start of an unrecognised file, for the message: a web page saved as .jpg is obvious at a glance.
std::string describe_start(ImageBytes bytes) {
  constexpr std::size_t shown = 16;
  std::string start;
  for (std::uint8_t byte : bytes.first(std::min(shown, bytes.size()))) {
    const bool printable = byte >= 0x20 && byte < 0x7f;
    start += printable ? std::string(1, static_cast<char>(byte)) : fmt::format("\\x{:02x}", byte);
  }
  return start;
}

}  // namespace

bool starts_with(ImageBytes bytes, std::string_view prefix) {
  return bytes.size() >= prefix.size() && std::memcmp(bytes.data(), prefix.data(), prefix.size()) == 0;
}

void check_dimensions(std::int64_t width, std::int64_t height, std::string_view name, const DecodeOptions& options) {
  if (width <= 0 || height <= 0) fail("{}: the image has {} × {} pixels", name, width, height);
  if (width > options.pixel_limit / height)
    fail("{}: {} × {} pixels are above the limit of {}", name, width, height, options.pixel_limit);
}

std::vector<std::uint8_t> make_palette() {
  std::vector<std::uint8_t> palette(4 * 256);
  for (std::size_t i = 3; i < palette.size(); i += 4) palette[i] = 255;
  return palette;
}

bool is_image(std::span<const std::byte> bytes) {
  return find_decoder({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}) != nullptr;
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  const ImageBytes content(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (content.empty()) fail("{}: the file is empty", name);
  const Decoder decode = find_decoder(content);
  if (decode == nullptr)
    fail("{}: not a JPEG, PNG, WebP, GIF or BMP image (starts with '{}')", name, describe_start(content));
  Image image = decode(content, name, options);
  if (options.apply_exif_orientation) image = apply_orientation(std::move(image), exif_orientation(content));
  return image;
}

Image load_image(const std::filesystem::path& path, const DecodeOptions& options) {
  // Even a file of the largest allowed image is hardly larger.
  constexpr std::uint64_t most_bytes = std::uint64_t{1} << 30;
  const std::string bytes = read_file(path, most_bytes);
  return decode_image(std::as_bytes(std::span(bytes)), path.string(), options);
}

}  // namespace gondola
