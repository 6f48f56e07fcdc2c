// Windows and OS/2 bitmaps, in the variants and with the conventions of Pillow's BmpImagePlugin.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "image/decoders.h"

namespace gondola {
namespace {

enum Compression : std::uint32_t { uncompressed = 0, rle8 = 1, rle4 = 2, bit_fields = 3 };

/// Bit masks of red, green, blue and alpha in a pixel.
using Masks = std::array<std::uint32_t, 4>;

struct BmpHeader {
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;  ///< per pixel
  std::uint32_t compression = uncompressed;
  Masks masks{};
  std::uint32_t colors = 0;     ///< in the palette
  int palette_entry_bytes = 4;  ///< blue, green, red and, except in OS/2's first version, padding
  std::uint64_t palette_offset = 0, pixel_offset = 0;
};

/// How a row of pixels becomes a row of the image.
struct Layout {
  PixelMode mode = PixelMode::rgb;
  int bits = 0;
  Masks masks{};
};

class BmpReader {
 public:
  BmpReader(ImageBytes bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  BmpHeader read_header() const;
  Image decode(const BmpHeader& header) const;

 private:
  std::uint32_t u8(std::uint64_t offset) const { return part(offset, 1)[0]; }
  std::uint32_t u16(std::uint64_t offset) const { return u8(offset) | u8(offset + 1) << 8; }
  std::uint32_t u32(std::uint64_t offset) const { return u16(offset) | u16(offset + 2) << 16; }
  ImageBytes part(std::uint64_t offset, std::uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) fail("{}: the BMP is truncated", name_);
    return bytes_.subspan(offset, size);
  }

  void read_masks(BmpHeader& header, std::uint32_t header_size) const;
  Layout choose_layout(const BmpHeader& header) const;
  Layout read_palette(const BmpHeader& header, std::vector<std::uint8_t>& palette) const;
  Image read_rows(const BmpHeader& header, const Layout& layout) const;
  Image read_runs(const BmpHeader& header, const Layout& layout) const;

  ImageBytes bytes_;
  std::string_view name_;
};

constexpr std::uint32_t file_header_size = 14, core_header_size = 12, info_header_size = 40;

BmpHeader BmpReader::read_header() const {
  BmpHeader header;
  constexpr std::uint64_t start = file_header_size;
  const std::uint32_t header_size = u32(start);
  if (header_size == core_header_size) {
    header.width = u16(start + 4);
    header.height = u16(start + 6);
    header.bits = static_cast<int>(u16(start + 10));
    header.palette_entry_bytes = 3;
  } else {
    constexpr std::uint32_t known_sizes[] = {info_header_size, 52, 56, 64, 108, 124};
    if (std::find(std::begin(known_sizes), std::end(known_sizes), header_size) == std::end(known_sizes))
      fail("{}: a BMP header of {} bytes is of no known version", name_, header_size);
    const std::uint32_t height = u32(start + 8);
    header.width = u32(start + 4);
    header.top_down = height >> 24 == 0xff;  // negative
    header.height = header.top_down ? (std::int64_t{1} << 32) - height : height;
    header.bits = static_cast<int>(u16(start + 14));
    header.compression = u32(start + 16);
    header.colors = u32(start + 32);
  }
  header.palette_offset = start + header_size;
  if (header.compression == bit_fields) read_masks(header, header_size);
  if (header.colors == 0 && header.bits <= 8) header.colors = 1u << header.bits;

  header.pixel_offset = u32(10);
  const std::uint64_t palette_bytes = std::uint64_t{header.colors} * static_cast<unsigned>(header.palette_entry_bytes);
  if (header.pixel_offset == start + header_size && header.bits <= 8) header.pixel_offset += palette_bytes;
  if (header.pixel_offset == 0) header.pixel_offset = header.palette_offset + (header.bits <= 8 ? palette_bytes : 0);
  return header;
}

void BmpReader::read_masks(BmpHeader& header, std::uint32_t header_size) const {
  constexpr std::uint64_t masks_offset = file_header_size + info_header_size;  // in the header, or right after it
  constexpr std::uint32_t header_size_with_alpha = 56;
  for (std::size_t i = 0; i < 3; ++i) header.masks[i] = u32(masks_offset + 4 * i);
  if (header_size >= header_size_with_alpha) header.masks[3] = u32(masks_offset + 12);
  if (header_size == info_header_size) header.palette_offset += 12;
}

Layout BmpReader::choose_layout(const BmpHeader& header) const {
  static constexpr Masks bgrx = {0xff0000, 0xff00, 0xff, 0}, bgra = {0xff0000, 0xff00, 0xff, 0xff000000};
  static constexpr Masks rgb555 = {0x7c00, 0x3e0, 0x1f, 0}, rgb565 = {0xf800, 0x7e0, 0x1f, 0};
  if (header.compression == uncompressed) return {PixelMode::rgb, header.bits, header.bits == 16 ? rgb555 : bgrx};

  static constexpr Masks known_32[] = {bgrx,
                                       bgra,
                                       {0xff000000, 0xff0000, 0xff00, 0},
                                       {0xff000000, 0xff00, 0xff, 0},
                                       {0xff000000, 0xff0000, 0xff00, 0xff},
                                       {0xff, 0xff00, 0xff0000, 0xff000000},
                                       {0xff000000, 0xff00, 0xff, 0xff0000}};
  const auto same_colours = [&](const Masks& masks) {
    return std::equal(masks.begin(), masks.begin() + 3, header.masks.begin());
  };
  if (header.bits == 32) {
    if (header.masks == Masks{}) return {PixelMode::rgba, 32, bgra};
    for (const Masks& masks : known_32)
      if (masks == header.masks) return {masks[3] != 0 ? PixelMode::rgba : PixelMode::rgb, 32, masks};
  }
  if (header.bits == 24 && same_colours(bgrx)) return {PixelMode::rgb, 24, bgrx};
  if (header.bits == 16 && same_colours(rgb555)) return {PixelMode::rgb, 16, rgb555};
  if (header.bits == 16 && same_colours(rgb565)) return {PixelMode::rgb, 16, rgb565};
  fail("{}: unsupported BMP bit masks {:x}, {:x}, {:x}, {:x} of {} bits", name_, header.masks[0], header.masks[1],
       header.masks[2], header.masks[3], header.bits);
}

/// Pillow drops a palette that is a ramp of grey: the image is then "L", or "1" when there are at most two colours.
Layout BmpReader::read_palette(const BmpHeader& header, std::vector<std::uint8_t>& palette) const {
  constexpr std::uint32_t most_colors = 65536, byte_colors = 256;
  if (header.colors == 0 || header.colors > most_colors) fail("{}: a BMP palette of {} colours", name_, header.colors);
  const auto entry_bytes = static_cast<std::size_t>(header.palette_entry_bytes);
  const ImageBytes entries = part(header.palette_offset, header.colors * entry_bytes);
  palette = make_palette();
  bool grey = true;
  for (std::uint32_t i = 0; i < header.colors; ++i) {
    const std::uint8_t* entry = entries.data() + i * entry_bytes;
    const std::uint32_t ramp = header.colors == 2 ? i * 255 : i & 0xff;
    grey = grey && entry[0] == ramp && entry[1] == ramp && entry[2] == ramp;
    if (i < byte_colors) std::reverse_copy(entry, entry + 3, palette.data() + 4 * i);
  }
  if (grey && header.colors <= 2) return {PixelMode::bilevel, 1, {}};
  if (grey) return {PixelMode::grey, 8, {}};
  if (header.colors > byte_colors) fail("{}: a BMP palette of {} colours", name_, header.colors);
  return {PixelMode::palette, header.bits, {}};
}

/// Unpacks pixels of 1, 4 or 8 bits, the first in the highest bits.
void unpack_indices(const std::uint8_t* row, const Layout& layout, std::uint8_t* out, int width) {
  const int scale = layout.mode == PixelMode::bilevel ? 255 : 1;
  const int per_byte = 8 / layout.bits, mask = (1 << layout.bits) - 1;
  for (int x = 0; x < width; ++x) {
    const int shift = 8 - layout.bits * (x % per_byte + 1);
    out[x] = static_cast<std::uint8_t>((row[x / per_byte] >> shift & mask) * scale);
  }
}

/// Unpacks pixels of whole bytes, whose channels the masks select; channels of 5 or 6 bits are scaled by 255 / maximum.
void unpack_masked(const std::uint8_t* row, const Layout& layout, std::uint8_t* out, int width) {
  const int bytes = layout.bits / 8, channels = bytes_per_pixel(layout.mode);
  for (int x = 0; x < width; ++x, row += bytes) {
    std::uint32_t pixel = 0;
    for (int i = 0; i < bytes; ++i) pixel |= std::uint32_t{row[i]} << 8 * i;
    for (int c = 0; c < channels; ++c) {
      const std::uint32_t mask = layout.masks[static_cast<std::size_t>(c)];
      const int shift = std::countr_zero(mask);
      const std::uint32_t maximum = mask >> shift;
      *out++ = static_cast<std::uint8_t>(((pixel & mask) >> shift) * 255 / maximum);
    }
  }
}

Image BmpReader::read_rows(const BmpHeader& header, const Layout& layout) const {
  const auto width = static_cast<std::uint64_t>(header.width), height = static_cast<std::uint64_t>(header.height);
  const std::uint64_t stride = (width * static_cast<unsigned>(header.bits) + 31) / 32 * 4;
  const std::uint64_t row_bytes = (width * static_cast<unsigned>(layout.bits) + 7) / 8;
  if (row_bytes > stride) fail("{}: a BMP of {} bits with a palette of {} greys", name_, header.bits, header.colors);
  const ImageBytes rows = part(header.pixel_offset, (height - 1) * stride + row_bytes);
  Image image = make_image(layout.mode, static_cast<int>(width), static_cast<int>(height));
  for (std::uint64_t y = 0; y < height; ++y) {
    std::uint8_t* out = image.row(static_cast<int>(header.top_down ? y : height - 1 - y));
    const std::uint8_t* row = rows.data() + y * stride;
    if (layout.bits <= 8)
      unpack_indices(row, layout, out, image.width);
    else
      unpack_masked(row, layout, out, image.width);
  }
  return image;
}

/// Decodes run-length encoding: pairs of a count and a value, and escapes for the end of a row or of the image, for a
/// jump, and for literal pixels.
Image BmpReader::read_runs(const BmpHeader& header, const Layout& layout) const {
  const bool nibbles = header.compression == rle4;
  const auto width = static_cast<std::size_t>(header.width), size = width * static_cast<std::size_t>(header.height);
  std::vector<std::uint8_t> pixels;
  const auto append = [&](std::size_t count, std::uint8_t value) {
    pixels.resize(std::min(size, pixels.size() + count), value);
  };
  std::uint64_t at = header.pixel_offset;
  std::size_t x = 0;
  enum Escape : std::uint32_t { end_of_row = 0, end_of_image = 1, jump = 2 };
  while (pixels.size() < size) {
    const std::uint32_t count = u8(at), value = u8(at + 1);
    at += 2;
    if (count > 0) {
      const std::size_t run = std::min<std::size_t>(count, x < width ? width - x : 0);
      for (std::size_t i = 0; i < run; ++i)
        append(1, static_cast<std::uint8_t>(!nibbles ? value : i % 2 == 0 ? value >> 4 : value & 15));
      x += run;
    } else if (value == end_of_row) {
      append((width - pixels.size() % width) % width, 0);
      x = 0;
    } else if (value == end_of_image) {
      break;
    } else if (value == jump) {
      const std::uint32_t right = u8(at), up = u8(at + 1);
      at += 2;
      append(right + up * width, 0);
      x = pixels.size() % width;
    } else {
      const std::size_t literals = std::min<std::size_t>(value, size - pixels.size());
      const std::size_t literal_bytes = nibbles ? (literals + 1) / 2 : literals;
      const ImageBytes stored = part(at, literal_bytes);
      for (std::size_t i = 0; i < literals; ++i)
        append(1, static_cast<std::uint8_t>(!nibbles     ? stored[i]
                                            : i % 2 == 0 ? stored[i / 2] >> 4
                                                         : stored[i / 2] & 15));
      x += value;
      at += literal_bytes;
      at += at % 2;  // literals are padded to a 16-bit boundary of the file
    }
  }
  if (pixels.size() < size) fail("{}: the BMP ends after {} of {} pixels", name_, pixels.size(), size);
  if (layout.mode == PixelMode::bilevel)
    for (std::uint8_t& pixel : pixels) pixel = pixel != 0 ? 255 : 0;
  Image image = make_image(layout.mode, static_cast<int>(header.width), static_cast<int>(header.height));
  for (int y = 0; y < image.height; ++y)
    std::memcpy(image.row(header.top_down ? y : image.height - 1 - y),
                pixels.data() + static_cast<std::size_t>(y) * width, width);
  return image;
}

Image BmpReader::decode(const BmpHeader& header) const {
  constexpr int known_bits[] = {1, 4, 8, 16, 24, 32};
  if (std::find(std::begin(known_bits), std::end(known_bits), header.bits) == std::end(known_bits))
    fail("{}: a BMP of {} bits a pixel, expected 1, 4, 8, 16, 24 or 32", name_, header.bits);
  if (header.compression > bit_fields) fail("{}: unsupported BMP compression {}", name_, header.compression);
  const bool run_length = header.compression == rle8 || header.compression == rle4;
  const bool indexed = header.bits <= 8;
  if (indexed && header.compression == bit_fields) fail("{}: a BMP of {} bits with bit masks", name_, header.bits);

  std::vector<std::uint8_t> palette;
  const Layout layout = indexed ? read_palette(header, palette) : choose_layout(header);
  if (run_length && !indexed) fail("{}: a run-length encoded BMP of {} bits", name_, header.bits);
  Image image = run_length ? read_runs(header, layout) : read_rows(header, layout);
  if (layout.mode == PixelMode::palette) image.palette = std::move(palette);
  return image;
}

}  // namespace

Image decode_bmp(ImageBytes bytes, std::string_view name, const DecodeOptions& options) {
  const BmpReader reader(bytes, name);
  const BmpHeader header = reader.read_header();
  check_dimensions(header.width, header.height, name, options);
  return reader.decode(header);
}

}  // namespace gondola
