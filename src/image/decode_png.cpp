#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "image/decoders.h"

namespace gondola {
namespace {

/// libpng reports an error through on_error, which must not return. It jumps back into `guarded`, across frames without
/// destructors: libpng is C, and functions passed to `guarded` must hold no object with a destructor.
class PngReader {
 public:
  PngReader(ImageBytes bytes, std::string_view name) : name_(name), rest_(bytes) {
    guarded([&] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
      if (png_ != nullptr) info_ = png_create_info_struct(png_);
    });
    if (info_ == nullptr) fail("{}: libpng: out of memory", name_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  png_structp png() { return png_; }
  png_infop info() { return info_; }

  /// Reads up to the first IDAT chunk.
  void read_header() {
    guarded([&] {
      png_set_read_fn(png_, this, on_read);
      // Skip texts, profiles and the like, which could unpack to any size but change no pixel. check_dimensions checks
      // the size of the image.
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
      png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
      // Some encoders understate the window of their data; Pillow always takes the largest.
      png_set_option(png_, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
      png_read_info(png_, info_);
    });
  }

  /// One byte per sample if its depth is at most 8 or `high_byte_only`, else two in the machine's byte order.
  void read_pixels(Image& image, bool high_byte_only) {
    guarded([&] {
      png_set_packing(png_);
      if (high_byte_only)
        png_set_strip_16(png_);
      else
        png_set_swap(png_);
      const int passes = png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
      for (int pass = 0; pass < passes; ++pass)
        for (int y = 0; y < image.height; ++y) png_read_row(png_, image.row(y), nullptr);
    });
  }

 private:
  static void on_error(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self.message_, sizeof self.message_, "%s", message);
    std::longjmp(self.jump_, 1);
  }
  static void on_read(png_structp png, png_bytep out, std::size_t size) {
    auto& self = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > self.rest_.size()) png_error(png, "the file is truncated");
    std::memcpy(out, self.rest_.data(), size);
    self.rest_ = self.rest_.subspan(size);
  }
  template <class Step>
  void guarded(Step step) {
    if (setjmp(jump_) != 0) fail("{}: damaged PNG: {}", name_, message_);
    step();
  }

  std::string_view name_;
  ImageBytes rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
  char message_[256] = {};
};

/// The mode that matches the layout of libpng's samples after read_pixels.
PixelMode stored_mode(int color_type, int bit_depth) {
  switch (color_type) {
    case PNG_COLOR_TYPE_GRAY:
      return bit_depth == 16 ? PixelMode::grey16 : bit_depth == 1 ? PixelMode::bilevel : PixelMode::grey;
    case PNG_COLOR_TYPE_PALETTE:
      return PixelMode::palette;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
      return PixelMode::grey_alpha;
    case PNG_COLOR_TYPE_RGB:
      return PixelMode::rgb;
    default:
      return PixelMode::rgba;
  }
}

std::vector<std::uint8_t> read_palette(PngReader& reader) {
  png_colorp colors = nullptr;
  png_bytep alphas = nullptr;
  int color_count = 0, alpha_count = 0;
  png_get_PLTE(reader.png(), reader.info(), &colors, &color_count);
  png_get_tRNS(reader.png(), reader.info(), &alphas, &alpha_count, nullptr);
  std::vector<std::uint8_t> palette = make_palette();
  for (int i = 0; i < color_count; ++i) {
    std::uint8_t* entry = palette.data() + 4 * i;
    entry[0] = colors[i].red;
    entry[1] = colors[i].green;
    entry[2] = colors[i].blue;
    if (i < alpha_count) entry[3] = alphas[i];
  }
  return palette;
}

/// The tRNS colour as Pillow keeps it: unscaled, whatever the bit depth (except for "1", where it is 0 or 255).
std::optional<std::array<std::uint16_t, 3>> read_transparent_colour(PngReader& reader, PixelMode mode) {
  png_color_16p color = nullptr;
  if ((png_get_tRNS(reader.png(), reader.info(), nullptr, nullptr, &color) & PNG_INFO_tRNS) == 0 || color == nullptr)
    return std::nullopt;
  switch (mode) {
    case PixelMode::bilevel: {
      const std::uint16_t grey = color->gray != 0 ? 255 : 0;
      return {{grey, grey, grey}};
    }
    case PixelMode::grey:
    case PixelMode::grey16:
      return {{color->gray, color->gray, color->gray}};
    case PixelMode::rgb:
      return {{color->red, color->green, color->blue}};
    default:
      return std::nullopt;
  }
}

}  // namespace

Image decode_png(ImageBytes bytes, std::string_view name, const DecodeOptions& options) {
  PngReader reader(bytes, name);
  reader.read_header();
  const std::int64_t width = png_get_image_width(reader.png(), reader.info());
  const std::int64_t height = png_get_image_height(reader.png(), reader.info());
  const int bit_depth = png_get_bit_depth(reader.png(), reader.info());
  check_dimensions(width, height, name, options);

  Image image = make_uninitialised_image(stored_mode(png_get_color_type(reader.png(), reader.info()), bit_depth),
                                         static_cast<int>(width), static_cast<int>(height));
  if (image.mode == PixelMode::palette) image.palette = read_palette(reader);
  image.transparent_colour = read_transparent_colour(reader, image.mode);
  reader.read_pixels(image, image.mode != PixelMode::grey16);

  if (bit_depth < 8 && image.mode != PixelMode::palette) {
    const int scale = 255 / ((1 << bit_depth) - 1);
    for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(value * scale);
  }
  if (image.mode == PixelMode::grey_alpha && bit_depth == 16) return to_rgba(image);  // Pillow has no 16-bit "LA"
  return image;
}

}  // namespace gondola
