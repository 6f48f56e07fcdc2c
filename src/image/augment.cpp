#include "image/augment.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace gondola {
namespace {

/// Random number streams of a sample: switching one augmentation on or off leaves the others as they are.
enum Stream : std::uint64_t { crop_stream, flip_stream, erase_stream, detail_stream };

constexpr int attempts = 10;

int random_offset(Random& random, int spare) {
  return static_cast<int>(random.below(static_cast<std::uint64_t>(spare) + 1));
}

/// A rectangle of the given area and aspect ratio (width / height), rounded to whole pixels.
Window rectangle(double area, double aspect_ratio) {
  return {0, 0, static_cast<int>(std::nearbyint(std::sqrt(area * aspect_ratio))),
          static_cast<int>(std::nearbyint(std::sqrt(area / aspect_ratio)))};
}

bool place(Window& window, int width, int height, Random& random) {
  if (window.width < 1 || window.height < 1 || window.width > width || window.height > height) return false;
  window.top = random_offset(random, height - window.height);
  window.left = random_offset(random, width - window.width);
  return true;
}

double random_aspect_ratio(Random& random, double max_aspect_ratio) {
  const double limit = std::log(max_aspect_ratio);
  return std::exp(random.uniform(-limit, limit));
}

/// Returns an empty rectangle if no attempt fits.
Window random_erasure(int size, Random& random) {
  constexpr double min_area = 0.02, max_area = 0.2, max_aspect_ratio = 1 / 0.3;
  const double area = static_cast<double>(size) * size;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const double share = random.uniform(min_area, max_area);
    Window window = rectangle(area * share, random_aspect_ratio(random, max_aspect_ratio));
    if (place(window, size, size, random)) return window;
  }
  return {};
}

/// Multiplies each colour's difference from the image at a quarter of its resolution by a factor of its own.
Image scale_detail(const Image& image, const std::array<double, 3>& factors) {
  const auto quarter = [](int side) { return std::max(1, side / 4); };
  const Image coarse = resize(resize(image, quarter(image.width), quarter(image.height), Interpolation::bicubic),
                              image.width, image.height, Interpolation::bicubic);
  Image scaled = image;
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const double detail = image.pixels[i] - coarse.pixels[i];
    scaled.pixels[i] =
        static_cast<std::uint8_t>(std::clamp(coarse.pixels[i] + factors[i % 3] * detail + 0.5, 0.0, 255.0));
  }
  return scaled;
}

}  // namespace

Window random_crop(int width, int height, const AugmentConfig& augmentation, std::uint64_t seed) {
  Random random(mix_seed(seed, crop_stream));
  const double shorter = std::min(width, height);
  const double area = augmentation.max_aspect_ratio == 1 ? shorter * shorter : static_cast<double>(width) * height;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const double share = random.uniform(augmentation.min_crop_area, 1.0);
    Window window = rectangle(area * share, random_aspect_ratio(random, augmentation.max_aspect_ratio));
    if (place(window, width, height, random)) return window;
  }
  const double limit = augmentation.max_aspect_ratio;
  const double aspect_ratio = std::clamp(static_cast<double>(width) / height, 1 / limit, limit);
  Window window{0, 0, std::min(width, static_cast<int>(std::nearbyint(height * aspect_ratio))),
                std::min(height, static_cast<int>(std::nearbyint(width / aspect_ratio)))};
  window.left = (width - window.width) / 2;
  window.top = (height - window.height) / 2;
  return window;
}

void augment(const Image& image, const PreprocessConfig& config, const AugmentConfig& augmentation, std::uint64_t seed,
             std::span<float> out) {
  const std::size_t size = static_cast<std::size_t>(config.size), plane = size * size;
  if (config.size < 1 || out.size() != 3 * plane)
    fail("augment: room for {} values, expected 3 × {} × {}", out.size(), config.size, config.size);

  // Crop before resizing, as torchvision does, so that no pixel outside the crop plays a part.
  Image cropped = crop(image, random_crop(image.width, image.height, augmentation, seed));
  if (config.library == PreprocessLibrary::transformers) cropped = to_rgb_over_white(std::move(cropped));
  Image square = to_rgb(resize(cropped, config.size, config.size, Interpolation::bicubic));
  if (augmentation.max_detail > 0) {
    Random detail(mix_seed(seed, detail_stream));
    std::array<double, 3> factors;
    for (double& factor : factors) factor = detail.uniform(0, augmentation.max_detail);
    square = scale_detail(square, factors);
  }

  Random flip(mix_seed(seed, flip_stream));
  const bool flipped = flip.uniform() < augmentation.flip_probability;
  const NormalizationTable table = normalization_table(config);
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t y = 0; y < size; ++y) {
      const std::uint8_t* row = square.row(static_cast<int>(y));
      float* target = out.data() + c * plane + y * size;
      for (std::size_t x = 0; x < size; ++x) target[x] = table[c][row[3 * (flipped ? size - 1 - x : x) + c]];
    }
  }

  Random erase(mix_seed(seed, erase_stream));
  if (erase.uniform() >= augmentation.erase_probability) return;
  const Window erased = random_erasure(config.size, erase);
  constexpr float mean = 0;  // of a normalised image
  for (std::size_t c = 0; c < 3; ++c)
    for (int y = erased.top; y < erased.top + erased.height; ++y)
      std::fill_n(
          out.begin() + static_cast<std::ptrdiff_t>(c * plane + static_cast<std::size_t>(y) * size) + erased.left,
          erased.width, mean);
}

}  // namespace gondola
