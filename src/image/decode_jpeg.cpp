#include <algorithm>
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include "base/error.h"
#include "image/decoders.h"

namespace gondola {
namespace {

/// Far more than a real progressive file has (about 10): each scan visits the whole image, however few bytes it takes.
constexpr int scan_limit = 100;

constexpr JDIMENSION rows_a_call = 16;

/// libjpeg reports an error by calling error_exit, which must not return. It jumps back into `guarded`, across frames
/// without destructors: libjpeg is C, and functions passed to `guarded` must hold no object with a destructor.
class JpegReader {
 public:
  JpegReader(ImageBytes bytes, std::string_view name) : name_(name) {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = [](j_common_ptr info) {
      auto& self = *static_cast<JpegReader*>(info->client_data);
      info->err->format_message(info, self.message_);
      std::longjmp(self.jump_, 1);
    };
    errors_.output_message = [](j_common_ptr) {};
    guarded([&] { jpeg_create_decompress(&info_); });
    info_.progress = &progress_;
    progress_.progress_monitor = [](j_common_ptr info) {
      auto& self = *static_cast<JpegReader*>(info->client_data);
      if (self.info_.input_scan_number <= scan_limit) return;
      std::snprintf(self.message_, sizeof self.message_, "more than %d scans", scan_limit);
      std::longjmp(self.jump_, 1);
    };
    // All bytes are there from the start. Asking for more suspends the decoder, which is also how Pillow detects a
    // truncated file; libjpeg's own sources would make up an end of image and leave the rest grey.
    info_.src = &source_;
    source_.next_input_byte = bytes.data();
    source_.bytes_in_buffer = bytes.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = [](j_decompress_ptr) -> boolean { return FALSE; };
    source_.skip_input_data = [](j_decompress_ptr info, long count) {
      const std::size_t left = info->src->bytes_in_buffer;
      const std::size_t skipped = count <= 0 ? 0 : std::min(left, static_cast<std::size_t>(count));
      info->src->next_input_byte += skipped;
      info->src->bytes_in_buffer -= skipped;
    };
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  jpeg_decompress_struct& info() { return info_; }

  void read_header() {
    int status = JPEG_HEADER_TABLES_ONLY;
    guarded([&] {
      while (status == JPEG_HEADER_TABLES_ONLY) status = jpeg_read_header(&info_, FALSE);
    });
    if (status == JPEG_SUSPENDED) fail_truncated();
  }

  void read_pixels(Image& image) {
    bool complete = false;
    std::uint8_t* const pixels = image.pixels.data();
    const std::size_t row_bytes = image.row_bytes();
    guarded([&] {
      if (!jpeg_start_decompress(&info_)) return;
      while (info_.output_scanline < info_.output_height) {
        JSAMPROW rows[rows_a_call];
        const JDIMENSION count = std::min(rows_a_call, info_.output_height - info_.output_scanline);
        for (JDIMENSION i = 0; i < count; ++i) rows[i] = pixels + (info_.output_scanline + i) * row_bytes;
        if (jpeg_read_scanlines(&info_, rows, count) == 0) return;
      }
      complete = true;
    });
    if (!complete) fail_truncated();
  }

 private:
  template <class Step>
  void guarded(Step step) {
    if (setjmp(jump_) != 0) fail("{}: damaged JPEG: {}", name_, message_);
    step();
  }
  [[noreturn]] void fail_truncated() { fail("{}: the JPEG is truncated", name_); }

  std::string_view name_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_;
  char message_[JMSG_LENGTH_MAX] = {};
};

}  // namespace

// As in Pillow: the slow integer DCT and "fancy" chroma upsampling, which are libjpeg's defaults.
Image decode_jpeg(ImageBytes bytes, std::string_view name, const DecodeOptions& options) {
  JpegReader reader(bytes, name);
  reader.read_header();
  jpeg_decompress_struct& info = reader.info();
  check_dimensions(info.image_width, info.image_height, name, options);

  PixelMode mode;
  switch (info.num_components) {
    case 1:
      mode = PixelMode::grey;
      info.out_color_space = JCS_GRAYSCALE;
      break;
    case 3:
      mode = PixelMode::rgb;
      info.out_color_space = JCS_RGB;
      break;
    case 4:
      mode = PixelMode::cmyk;
      info.out_color_space = JCS_CMYK;  // libjpeg undoes YCCK
      break;
    default:
      fail("{}: a JPEG of {} components, expected 1, 3 or 4", name, info.num_components);
  }
  Image image = make_uninitialised_image(mode, static_cast<int>(info.image_width), static_cast<int>(info.image_height));
  reader.read_pixels(image);
  if (mode == PixelMode::cmyk)  // Adobe stores it inverted; Pillow assumes Adobe for every CMYK file
    for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(255 - value);
  return image;
}

}  // namespace gondola
