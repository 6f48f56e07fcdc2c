#include "api/decode_input.h"

#include "base/error.h"

namespace gondola {
namespace {

Image decode(const std::filesystem::path& path) {
  return load_image(path);
}

Image decode(const EncodedImage& encoded) {
  return decode_image(encoded.bytes, "image in memory");
}

Image decode(const RgbImage& rgb) {
  if (rgb.width <= 0 || rgb.height <= 0 ||
      rgb.pixels.size() != static_cast<std::size_t>(rgb.width) * static_cast<std::size_t>(rgb.height) * 3)
    fail("RGB image of {} × {} pixels: found {} bytes, expected width × height × 3", rgb.width, rgb.height,
         rgb.pixels.size());
  Image image;
  image.mode = PixelMode::rgb;
  image.width = rgb.width;
  image.height = rgb.height;
  image.pixels.assign(rgb.pixels.begin(), rgb.pixels.end());
  return image;
}

}  // namespace

Image decode_input(const ImageInput& input) {
  return std::visit([](const auto& image) { return decode(image); }, input);
}

}  // namespace gondola
