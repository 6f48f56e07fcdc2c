#include "image/orientation.h"

#include <cstring>

namespace gondola {
namespace {

/// Reads unsigned integers at any offset of untrusted bytes, 0 outside them.
class Reader {
 public:
  Reader(ImageBytes bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}
  std::uint32_t u16(std::size_t offset) const { return read(offset, 2); }
  std::uint32_t u32(std::size_t offset) const { return read(offset, 4); }

 private:
  std::uint32_t read(std::size_t offset, std::size_t size) const {
    if (offset > bytes_.size() || bytes_.size() - offset < size) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | bytes_[offset + (big_endian_ ? i : size - 1 - i)];
    return value;
  }
  ImageBytes bytes_;
  bool big_endian_;
};

ImageBytes part(ImageBytes bytes, std::size_t offset, std::size_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return {};
  return bytes.subspan(offset, size);
}

constexpr std::string_view exif_header("Exif\0\0", 6);

ImageBytes jpeg_exif(ImageBytes file) {
  constexpr std::uint32_t app1 = 0xffe1, start_of_scan = 0xffda;
  const Reader reader(file, true);
  for (std::size_t at = 2; at + 4 <= file.size();) {
    const std::uint32_t marker = reader.u16(at), length = reader.u16(at + 2);
    // Any number of fill bytes may precede a marker (T.81, B.1.1.2); Pillow and libjpeg skip other bytes too.
    if (marker <= 0xff00 || marker == 0xffff) {
      ++at;
      continue;
    }
    if (marker == start_of_scan || length < 2) return {};
    const ImageBytes content = part(file, at + 4, length - 2);
    if (marker == app1 && starts_with(content, exif_header)) return content.subspan(exif_header.size());
    at += 2 + length;
  }
  return {};
}

ImageBytes png_exif(ImageBytes file) {
  const Reader reader(file, true);
  for (std::size_t at = 8; at + 12 <= file.size();) {
    const std::size_t length = reader.u32(at);
    if (starts_with(file.subspan(at + 4), "eXIf")) return part(file, at + 8, length);
    at += 12 + length;
  }
  return {};
}

ImageBytes webp_exif(ImageBytes file) {
  const Reader reader(file, false);
  for (std::size_t at = 12; at + 8 <= file.size();) {
    const std::size_t length = reader.u32(at + 4);
    if (starts_with(file.subspan(at), "EXIF")) {
      const ImageBytes content = part(file, at + 8, length);
      return starts_with(content, exif_header) ? content.subspan(exif_header.size()) : content;
    }
    at += 8 + length + length % 2;
  }
  return {};
}

/// EXIF is a TIFF file without pixels: byte order, then a directory of 12-byte entries.
int orientation_of_tiff(ImageBytes tiff) {
  const bool big_endian = starts_with(tiff, "MM");
  if (!big_endian && !starts_with(tiff, "II")) return 1;
  constexpr std::uint32_t orientation_tag = 274, short_type = 3;
  const Reader reader(tiff, big_endian);
  const std::size_t directory = reader.u32(4);
  const std::uint32_t entries = reader.u16(directory);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    if (reader.u16(entry) != orientation_tag) continue;
    const std::uint32_t value = reader.u16(entry + 2) == short_type ? reader.u16(entry + 8) : reader.u32(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace

int exif_orientation(ImageBytes file) {
  if (starts_with(file, "\xff\xd8")) return orientation_of_tiff(jpeg_exif(file));
  if (starts_with(file, "\x89PNG")) return orientation_of_tiff(png_exif(file));
  if (starts_with(file, "RIFF")) return orientation_of_tiff(webp_exif(file));
  return 1;
}

Image apply_orientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // The stored row and column that the upright pixel (x, y) comes from.
  const bool transposed = orientation >= 5;
  const bool mirrored_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool mirrored_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Image upright = make_uninitialised_image_like(image, transposed ? image.height : image.width,
                                                transposed ? image.width : image.height);
  const std::size_t pixel = static_cast<std::size_t>(image.bytes_per_pixel());
  for (int y = 0; y < upright.height; ++y) {
    std::uint8_t* out = upright.row(y);
    for (int x = 0; x < upright.width; ++x, out += pixel) {
      int column = transposed ? y : x, row = transposed ? x : y;
      if (mirrored_columns) column = image.width - 1 - column;
      if (mirrored_rows) row = image.height - 1 - row;
      std::memcpy(out, image.row(row) + static_cast<std::size_t>(column) * pixel, pixel);
    }
  }
  return upright;
}

}  // namespace gondola
