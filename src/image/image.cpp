#include "image/image.h"

#include <cstring>

namespace gondola {

int bytes_per_pixel(PixelMode mode) {
  constexpr int bytes[] = {1, 1, 2, 1, 3, 4, 4, 2};
  return bytes[static_cast<std::size_t>(mode)];
}

bool has_alpha(PixelMode mode) {
  return mode == PixelMode::grey_alpha || mode == PixelMode::rgba;
}

Image make_uninitialised_image(PixelMode mode, int width, int height) {
  Image image;
  image.mode = mode;
  image.width = width;
  image.height = height;
  image.pixels.resize(image.row_bytes() * static_cast<std::size_t>(height));
  return image;
}

Image make_image(PixelMode mode, int width, int height) {
  Image image = make_uninitialised_image(mode, width, height);
  std::memset(image.pixels.data(), 0, image.pixels.size());
  return image;
}

Image make_uninitialised_image_like(const Image& image, int width, int height) {
  Image like = make_uninitialised_image(image.mode, width, height);
  like.palette = image.palette;
  like.transparent_colour = image.transparent_colour;
  return like;
}

Image make_image_like(const Image& image, int width, int height) {
  Image like = make_uninitialised_image_like(image, width, height);
  std::memset(like.pixels.data(), 0, like.pixels.size());
  return like;
}

Image crop(const Image& image, const Window& window) {
  Image result = make_uninitialised_image_like(image, window.width, window.height);
  const std::size_t offset = static_cast<std::size_t>(window.left) * static_cast<std::size_t>(image.bytes_per_pixel());
  for (int y = 0; y < window.height; ++y)
    std::memcpy(result.row(y), image.row(window.top + y) + offset, result.row_bytes());
  return result;
}

}  // namespace gondola
