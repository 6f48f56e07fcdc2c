#include <gif_lib.h>

#include <cstring>
#include <memory>

#include "base/error.h"
#include "image/decoders.h"

namespace gondola {
namespace {

struct CloseGif {
  void operator()(GifFileType* file) const { DGifCloseFile(file, nullptr); }
};

/// Reads a GIF up to its first image.
class GifReader {
 public:
  GifReader(ImageBytes bytes, std::string_view name) : name_(name), rest_(bytes) {
    int error = 0;
    file_.reset(DGifOpen(this, on_read, &error));
    if (file_ == nullptr) fail_damaged(error);
  }

  const GifFileType& file() const { return *file_; }

  /// Reads up to the first image's pixels. Returns the palette index that its graphic control extension declares
  /// transparent, or −1 if there is none.
  int find_image() {
    int transparent_index = NO_TRANSPARENT_COLOR;
    for (;;) {
      GifRecordType type;
      const int status = DGifGetRecordType(file_.get(), &type);
      // Like Pillow, skip stray bytes between blocks.
      if (status != GIF_OK && file_->Error == D_GIF_ERR_WRONG_RECORD) continue;
      check(status);
      if (type == IMAGE_DESC_RECORD_TYPE) break;
      if (type == TERMINATE_RECORD_TYPE) fail("{}: the GIF holds no image", name_);
      if (type == EXTENSION_RECORD_TYPE) read_extension(transparent_index);
    }
    check(DGifGetImageDesc(file_.get()));
    // Like Pillow, do without the empty block that ends the pixels where the file stops short of it.
    std::size_t end = 0;
    while (end < rest_.size() && rest_[end] != 0) end += std::size_t{1} + rest_[end];
    unterminated_ = end == rest_.size();
    return transparent_index;
  }

  void read_row(std::uint8_t* row, int width) { check(DGifGetLine(file_.get(), row, width)); }

 private:
  static int on_read(GifFileType* file, GifByteType* out, int size) {
    auto& self = *static_cast<GifReader*>(file->UserData);
    const std::size_t count = std::min(self.rest_.size(), static_cast<std::size_t>(std::max(size, 0)));
    if (count > 0) std::memcpy(out, self.rest_.data(), count);
    self.rest_ = self.rest_.subspan(count);
    if (self.unterminated_ && count == 0 && size == 1) {  // which giflib still refuses if pixels are missing
      *out = 0;
      return 1;
    }
    return static_cast<int>(count);
  }

  void read_extension(int& transparent_index) {
    int code = 0;
    GifByteType* block = nullptr;  // its length, then its bytes
    check(DGifGetExtension(file_.get(), &code, &block));
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE && block != nullptr &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK && control.TransparentColor >= 0)
      transparent_index = control.TransparentColor;
    while (block != nullptr) check(DGifGetExtensionNext(file_.get(), &block));
  }

  void check(int status) {
    if (status != GIF_OK) fail_damaged(file_->Error);
  }
  [[noreturn]] void fail_damaged(int error) {
    const char* reason = GifErrorString(error);
    fail("{}: damaged or truncated GIF: {}", name_, reason == nullptr ? "unknown error" : reason);
  }

  std::string_view name_;
  ImageBytes rest_;
  bool unterminated_ = false;  ///< the file ends with a whole block of pixels, not with an empty one
  std::unique_ptr<GifFileType, CloseGif> file_;
};

/// Pillow opens an image whose palette is 0, 1, 2 … as grey.
bool is_grey_ramp(const ColorMapObject& map) {
  for (int i = 0; i < map.ColorCount; ++i) {
    const GifColorType& color = map.Colors[i];
    if (color.Red != i || color.Green != i || color.Blue != i) return false;
  }
  return true;
}

std::vector<std::uint8_t> to_palette(const ColorMapObject& map, int transparent_index) {
  std::vector<std::uint8_t> palette = make_palette();
  for (int i = 0; i < map.ColorCount; ++i) {
    palette[4 * static_cast<std::size_t>(i)] = map.Colors[i].Red;
    palette[4 * static_cast<std::size_t>(i) + 1] = map.Colors[i].Green;
    palette[4 * static_cast<std::size_t>(i) + 2] = map.Colors[i].Blue;
  }
  if (transparent_index >= 0) palette[4 * static_cast<std::size_t>(transparent_index) + 3] = 0;
  return palette;
}

}  // namespace

Image decode_gif(ImageBytes bytes, std::string_view name, const DecodeOptions& options) {
  GifReader reader(bytes, name);
  const int transparent_index = reader.find_image();
  const GifFileType& file = reader.file();
  const GifImageDesc& frame = file.Image;
  // As in Pillow, a frame that reaches beyond the screen enlarges it.
  const int width = std::max(file.SWidth, frame.Left + frame.Width);
  const int height = std::max(file.SHeight, frame.Top + frame.Height);
  check_dimensions(width, height, name, options);
  if (frame.Width <= 0 || frame.Height <= 0) fail("{}: the GIF's first frame is empty", name);

  const ColorMapObject* map = frame.ColorMap != nullptr ? frame.ColorMap : file.SColorMap;
  const bool grey = map == nullptr || is_grey_ramp(*map);
  Image image = make_image(grey ? PixelMode::grey : PixelMode::palette, width, height);
  if (!grey) image.palette = to_palette(*map, transparent_index);
  if (transparent_index >= 0) {
    const auto index = static_cast<std::uint8_t>(transparent_index);
    if (grey) image.transparent_colour = {index, index, index};
    std::fill(image.pixels.begin(), image.pixels.end(), index);
  }

  struct Pass {
    int first, step;
  };
  static constexpr Pass interlaced[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}}, sequential[] = {{0, 1}};
  for (const Pass& pass : frame.Interlace ? std::span<const Pass>(interlaced) : std::span<const Pass>(sequential))
    for (int y = pass.first; y < frame.Height; y += pass.step)
      reader.read_row(image.row(frame.Top + y) + frame.Left, frame.Width);
  return image;
}

}  // namespace gondola
