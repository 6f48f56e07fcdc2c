#include "image/preprocess.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace gondola {
namespace {

int checked_side(double side, const Image& image) {
  if (!(side >= 1 && side <= std::numeric_limits<int>::max()))
    fail("an image of {} × {} pixels is too elongated to be resized", image.width, image.height);
  return static_cast<int>(side);
}

/// Rounds half to even like Python's round (std::nearbyint in the default rounding mode).
int round_half_to_even(double value) {
  return static_cast<int>(std::nearbyint(value));
}

int crop_offset(int side, const PreprocessConfig& config) {
  const int spare = side - config.size;
  return config.library == PreprocessLibrary::transformers ? spare / 2 : round_half_to_even(spare / 2.0);
}

/// torchvision's Resize(size) and CenterCrop(size), but computes only the crop.
Image resize_shortest(const Image& image, const PreprocessConfig& config) {
  const bool portrait = image.width <= image.height;
  const double shorter = portrait ? image.width : image.height, longer = portrait ? image.height : image.width;
  const int long_side = checked_side(std::trunc(config.size * longer / shorter), image);
  const int width = portrait ? config.size : long_side, height = portrait ? long_side : config.size;
  return resize(image, width, height, config.interpolation,
                {crop_offset(width, config), crop_offset(height, config), config.size, config.size});
}

/// open_clip's ResizeKeepRatio(size, longest=1) and CenterCropOrPad(size, fill).
Image resize_longest(const Image& image, const PreprocessConfig& config) {
  const double ratio = std::max(image.width, image.height) / static_cast<double>(config.size);
  const int width = checked_side(std::nearbyint(image.width / ratio), image);
  const int height = checked_side(std::nearbyint(image.height / ratio), image);
  const Image resized = resize(image, width, height, config.interpolation);

  // Pad in the image's own mode: for a palette, fill is an index.
  Image padded = make_image_like(resized, config.size, config.size);
  const bool words = padded.mode == PixelMode::grey16;
  const std::uint8_t fill = padded.mode == PixelMode::bilevel && config.fill != 0 ? 255 : config.fill;
  for (std::size_t i = 0; i < padded.pixels.size(); i += words ? 2 : 1) padded.pixels[i] = fill;
  const int left = (config.size - width) / 2, top = (config.size - height) / 2;
  const std::size_t offset = static_cast<std::size_t>(left) * static_cast<std::size_t>(padded.bytes_per_pixel());
  for (int y = 0; y < height; ++y) std::memcpy(padded.row(top + y) + offset, resized.row(y), resized.row_bytes());
  return padded;
}

Image resize_to_square(const Image& image, const PreprocessConfig& config) {
  switch (config.resize_mode) {
    case ResizeMode::shortest:
      return resize_shortest(image, config);
    case ResizeMode::longest:
      return resize_longest(image, config);
    case ResizeMode::squash:
      break;
  }
  return resize(image, config.size, config.size, config.interpolation);
}

}  // namespace

NormalizationTable normalization_table(const PreprocessConfig& config) {
  NormalizationTable table;
  for (std::size_t c = 0; c < 3; ++c) {
    for (int value = 0; value < 256; ++value) {
      const float scaled = config.library == PreprocessLibrary::transformers ? static_cast<float>(value * (1.0 / 255))
                                                                             : static_cast<float>(value) / 255.0f;
      table[c][static_cast<std::size_t>(value)] = (scaled - config.mean[c]) / config.std[c];
    }
  }
  return table;
}

void preprocess(Image image, const PreprocessConfig& config, std::span<float> out) {
  const std::size_t plane = static_cast<std::size_t>(config.size) * static_cast<std::size_t>(config.size);
  if (config.size < 1 || out.size() != 3 * plane)
    fail("preprocess: room for {} values, expected 3 × {} × {}", out.size(), config.size, config.size);
  if (config.library == PreprocessLibrary::transformers) image = to_rgb_over_white(std::move(image));
  const Image square = to_rgb(resize_to_square(image, config));
  const NormalizationTable table = normalization_table(config);
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t i = 0; i < plane; ++i) out[c * plane + i] = table[c][square.pixels[3 * i + c]];
}

}  // namespace gondola
