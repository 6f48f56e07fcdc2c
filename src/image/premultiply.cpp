#include "image/premultiply.h"

#include <algorithm>

namespace gondola {
namespace {

/// Replaces every colour value by change(value, alpha).
template <class Change>
void change_colours(Image& image, Change change) {
  const std::size_t channels = static_cast<std::size_t>(image.bytes_per_pixel());
  for (std::size_t i = 0; i < image.pixels.size(); i += channels) {
    const int alpha = image.pixels[i + channels - 1];
    for (std::size_t c = i; c < i + channels - 1; ++c) image.pixels[c] = change(image.pixels[c], alpha);
  }
}

}  // namespace

Image premultiply(Image image) {
  change_colours(image, [](int value, int alpha) { return static_cast<std::uint8_t>(multiply_255(value, alpha)); });
  return image;
}

Image unpremultiply(Image image) {
  change_colours(image, [](int value, int alpha) {
    return static_cast<std::uint8_t>(alpha == 0 || alpha == 255 ? value : std::min(255 * value / alpha, 255));
  });
  return image;
}

}  // namespace gondola
