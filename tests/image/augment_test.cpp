#include "image/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

namespace gondola {
namespace {

/// Columns that brighten to the right, so that flips and crops show.
Image gradient(int width, int height) {
  Image image = make_image(PixelMode::rgb, width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width * 3; ++x) image.row(y)[x] = static_cast<std::uint8_t>(255 * (x / 3) / (width - 1));
  return image;
}

PreprocessConfig plain(int size) {
  PreprocessConfig config;
  config.size = size;
  config.mean = {0, 0, 0};
  config.std = {1, 1, 1};
  return config;
}

std::vector<float> augmented(const Image& image, const AugmentConfig& augmentation, std::uint64_t seed, int size = 32) {
  std::vector<float> tensor(static_cast<std::size_t>(3 * size * size));
  augment(image, plain(size), augmentation, seed, tensor);
  return tensor;
}

/// torchvision ignores transparency; transformers turns transparent pixels white.
TEST(Augment, TreatsTransparencyAsTheLibraryDoes) {
  const Image clear = make_image(PixelMode::rgba, 40, 40);
  PreprocessConfig config = plain(32);
  for (const auto& [library, expected] :
       {std::pair(PreprocessLibrary::torchvision, 0.f), {PreprocessLibrary::transformers, 1.f}}) {
    config.library = library;
    std::vector<float> tensor(3 * 32 * 32, -1);
    augment(clear, config, {.min_crop_area = 1, .max_aspect_ratio = 1}, 1, tensor);
    EXPECT_EQ(std::set(tensor.begin(), tensor.end()), std::set<float>{expected});
  }
}

TEST(RandomCrop, StaysWithinItsAreaAndAspectRatioLimits) {
  const AugmentConfig augmentation{.min_crop_area = 0.3, .max_aspect_ratio = 2};
  double smallest = 1, largest = 0, sum = 0;
  constexpr int draws = 4000, width = 300, height = 200;
  for (std::uint64_t seed = 0; seed < draws; ++seed) {
    const Window crop = random_crop(width, height, augmentation, seed);
    ASSERT_TRUE(crop.left >= 0 && crop.top >= 0 && crop.left + crop.width <= width && crop.top + crop.height <= height);
    const double area = static_cast<double>(crop.width) * crop.height / (width * height);
    const double aspect = static_cast<double>(crop.width) / crop.height;
    ASSERT_TRUE(aspect > 0.48 && aspect < 2.1) << aspect;
    smallest = std::min(smallest, area), largest = std::max(largest, area), sum += area;
  }
  EXPECT_NEAR(smallest, 0.3, 0.02);
  EXPECT_GT(largest, 0.95);
  EXPECT_NEAR(sum / draws, 0.55, 0.1);  // below the middle of the range: large areas that do not fit are drawn again
}

TEST(RandomCrop, IsAsOftenTallAsWide) {
  double sum = 0;
  constexpr int draws = 4000;
  for (std::uint64_t seed = 0; seed < draws; ++seed) {
    const Window crop = random_crop(200, 200, {.min_crop_area = 0.3, .max_aspect_ratio = 2}, seed);
    sum += std::log(static_cast<double>(crop.width) / crop.height);
  }
  EXPECT_NEAR(sum / draws, 0, 0.03);
}

TEST(RandomCrop, TakesTheCentreOfAnImageTooLongForAnyCrop) {
  const Window crop = random_crop(1000, 10, {.min_crop_area = 0.9, .max_aspect_ratio = 4.0 / 3}, 5);
  EXPECT_EQ(crop.height, 10);
  EXPECT_EQ(crop.width, std::lround(10 * 4.0 / 3));
  EXPECT_EQ(crop.left, (1000 - crop.width) / 2);
  const Window tall = random_crop(10, 1000, {.min_crop_area = 0.9, .max_aspect_ratio = 4.0 / 3}, 5);
  EXPECT_EQ(tall.width, 10);
  EXPECT_EQ(tall.top, (1000 - tall.height) / 2);
}

TEST(RandomCrop, IsTheWholeImageAtFullArea) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Window crop = random_crop(200, 200, {.min_crop_area = 1, .max_aspect_ratio = 1}, seed);
    EXPECT_TRUE(crop.left == 0 && crop.top == 0 && crop.width == 200 && crop.height == 200) << seed;
  }
}

/// The augmentation of OpenAI's paper: in a 3:2 photo, every offset of the largest square is equally likely.
TEST(RandomCrop, PlacesTheLargestSquareUniformly) {
  constexpr int draws = 4000;
  std::array<int, 101> offsets{};
  for (std::uint64_t seed = 0; seed < draws; ++seed) {
    const Window crop = random_crop(300, 200, {.min_crop_area = 1, .max_aspect_ratio = 1}, seed);
    ASSERT_TRUE(crop.width == 200 && crop.height == 200 && crop.top == 0) << seed;
    ++offsets[static_cast<std::size_t>(crop.left)];
  }
  double chi_squared = 0;
  for (const int count : offsets) chi_squared += std::pow(count - draws / 101.0, 2) / (draws / 101.0);
  EXPECT_NEAR(chi_squared, 100, 60);  // mean, and four standard deviations
}

TEST(RandomCrop, HasTheDistributionOfTheClosedForm) {
  // The area is uniform over [s, 1] of the largest square's. Relative to its side, sides have mean
  // 2/3 (1 − s^1.5) / (1 − s) and P(side <= w) = (w² − s) / (1 − s); offsets are uniform over the room left.
  constexpr double s = 0.25, size = 1000, draws = 20000;
  for (const auto& [width, height] : {std::pair(1000, 1000), {1500, 1000}, {1000, 1500}}) {
    double side = 0, left = 0, top = 0, products = 0, below = 0;
    for (std::uint64_t seed = 0; seed < draws; ++seed) {
      const Window crop = random_crop(width, height, {.min_crop_area = s, .max_aspect_ratio = 1}, seed);
      ASSERT_EQ(crop.width, crop.height);
      const auto offset = [&](int start, int length) {
        return length > crop.width ? start / double(length - crop.width) : 0.5;
      };
      const double x = offset(crop.left, width), y = offset(crop.top, height);
      side += crop.width / size, below += crop.width <= 800;
      left += x, top += y, products += (x - 0.5) * (y - 0.5);
    }
    EXPECT_NEAR(side / draws, 2.0 / 3 * (1 - std::pow(s, 1.5)) / (1 - s), 0.005);
    EXPECT_NEAR(below / draws, (0.8 * 0.8 - s) / (1 - s), 0.02);
    EXPECT_NEAR(left / draws, 0.5, 0.01);
    EXPECT_NEAR(top / draws, 0.5, 0.01);
    EXPECT_NEAR(products / draws, 0, 0.005);  // they are uncorrelated
  }
}

TEST(Augment, ResizesTheRandomCrop) {
  const Image image = gradient(80, 50);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const AugmentConfig augmentation{.min_crop_area = 0.2};
    std::vector<float> expected(3 * 32 * 32);
    PreprocessConfig config = plain(32);
    config.resize_mode = ResizeMode::squash;
    preprocess(crop(image, random_crop(80, 50, augmentation, seed)), config, expected);
    EXPECT_EQ(augmented(image, augmentation, seed), expected);
  }
}

TEST(Augment, AFlipMirrorsAndAnErasureBlanksOneRectangle) {
  const Image image = gradient(60, 40);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const AugmentConfig none{.min_crop_area = 0.5};
    AugmentConfig flipped = none, erased = none;
    flipped.flip_probability = 1;
    erased.erase_probability = 1;
    const auto upright = augmented(image, none, seed), mirrored = augmented(image, flipped, seed);
    for (std::size_t i = 0; i < upright.size(); ++i) ASSERT_EQ(mirrored[i], upright[i - i % 32 + 31 - i % 32]);

    std::vector<float> white(3 * 32 * 32);
    Image blank = make_image(PixelMode::rgb, 60, 40);
    std::fill(blank.pixels.begin(), blank.pixels.end(), std::uint8_t{255});
    augment(blank, plain(32), erased, seed, white);
    int left = 32, top = 32, right = 0, bottom = 0, count = 0;
    for (int i = 0; i < 32 * 32; ++i) {
      if (white[static_cast<std::size_t>(i)] != 0) continue;
      left = std::min(left, i % 32), right = std::max(right, i % 32 + 1);
      top = std::min(top, i / 32), bottom = std::max(bottom, i / 32 + 1), ++count;
    }
    EXPECT_EQ(count, (right - left) * (bottom - top)) << seed;
    EXPECT_TRUE(count >= 0.015 * 32 * 32 && count <= 0.22 * 32 * 32) << count;
    const auto with_erasure = augmented(image, erased, seed);
    for (std::size_t i = 0; i < upright.size(); ++i) ASSERT_EQ(with_erasure[i], white[i] == 0 ? 0 : upright[i]) << i;
  }
}

TEST(Augment, DependsOnlyOnTheSeed) {
  const Image image = gradient(60, 40);
  const AugmentConfig augmentation{.min_crop_area = 0.5, .flip_probability = 0.5, .erase_probability = 0.5};
  std::set<std::vector<float>> distinct;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(augmented(image, augmentation, seed), augmented(image, augmentation, seed));
    distinct.insert(augmented(image, augmentation, seed));
  }
  EXPECT_GT(distinct.size(), 15u);
}

TEST(Augment, IsBicubicWhateverInferenceUses) {
  const Image image = gradient(60, 40);
  PreprocessConfig bilinear = plain(32);
  bilinear.interpolation = Interpolation::bilinear;
  std::vector<float> tensor(std::size_t{3 * 32 * 32});
  augment(image, bilinear, {.min_crop_area = 0.3}, 5, tensor);
  EXPECT_EQ(tensor, augmented(image, {.min_crop_area = 0.3}, 5));
}

TEST(Augment, ScalesEachColoursDetailByItsOwnFactor) {
  // A grey chequerboard of single pixels, gone at a quarter of the resolution, becomes 100 ± 20 times a factor.
  Image image = make_image(PixelMode::rgb, 32, 32);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 96; ++x) image.row(y)[x] = (x / 3 + y) % 2 == 0 ? 120 : 80;
  const AugmentConfig detailed{.min_crop_area = 1, .max_aspect_ratio = 1, .max_detail = 2};
  std::vector<double> factors;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto tensor = augmented(image, detailed, seed);
    for (std::size_t c = 0; c < 3; ++c) {
      const float* middle = tensor.data() + c * 32 * 32 + 16 * 32 + 16;
      EXPECT_NEAR((middle[0] + middle[1]) * 255 / 2, 100, 2);  // coarse content stays
      factors.push_back((middle[0] - middle[1]) * 255 / 40);
    }
  }
  const auto mean = std::accumulate(factors.begin(), factors.end(), 0.0) / 600;
  double deviation = 0, together = 0;
  for (std::size_t i = 0; i < 600; ++i) deviation += (factors[i] - mean) * (factors[i] - mean) / 600;
  for (std::size_t i = 0; i < 600; i += 3) together += (factors[i] - mean) * (factors[i + 1] - mean) / 200;
  EXPECT_NEAR(mean, 1, 0.1);
  EXPECT_NEAR(deviation, 4.0 / 12, 0.05);  // variance of a uniform draw from [0, 2]
  EXPECT_NEAR(together, 0, 0.1);
  EXPECT_LE(*std::max_element(factors.begin(), factors.end()), 2.05);

  Image flat = make_image(PixelMode::rgb, 32, 32);
  std::fill(flat.pixels.begin(), flat.pixels.end(), std::uint8_t{90});
  EXPECT_EQ(augmented(flat, detailed, 1), augmented(flat, {.min_crop_area = 1, .max_aspect_ratio = 1}, 1));
}

TEST(Augment, FlipsAsOftenAsAsked) {
  const Image image = gradient(64, 64);
  int flipped = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const auto tensor = augmented(image, {.min_crop_area = 0.9, .flip_probability = 0.3}, seed);
    flipped += tensor.front() > tensor[31];
  }
  EXPECT_NEAR(flipped, 300, 50);
  const auto upright = augmented(image, {.min_crop_area = 1, .max_aspect_ratio = 1}, 1);
  EXPECT_NEAR(upright[0], 0, 0.02);
  EXPECT_NEAR(upright[31], 1, 0.02);
}

TEST(Augment, DrawsCropsFlipsAndErasuresIndependently) {
  const PreprocessConfig config = plain(32);
  const AugmentConfig augmentation{.min_crop_area = 0.5, .flip_probability = 0.5, .erase_probability = 0.5};
  Image ramp = make_image(PixelMode::rgb, 64, 64);  // brighter to the right
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64 * 3; ++x) ramp.row(y)[x] = static_cast<std::uint8_t>(1 + 4 * (x / 3));
  std::vector<float> tensor(3 * 32 * 32);
  int flips = 0, erasures = 0, both = 0;
  double area_flipped = 0, area_upright = 0;
  constexpr int draws = 2000;
  for (std::uint64_t seed = 0; seed < draws; ++seed) {
    augment(ramp, config, augmentation, seed, tensor);
    const bool erased = std::ranges::find(tensor, 0.0f) != tensor.end();
    double slope = 0;
    for (std::size_t i = 0; i + 1 < 32 * 32; ++i)
      if (i % 32 != 31 && tensor[i] != 0 && tensor[i + 1] != 0) slope += tensor[i + 1] - tensor[i];
    const bool flipped = slope < 0;
    const Window crop = random_crop(64, 64, augmentation, seed);
    (flipped ? area_flipped : area_upright) += crop.width * crop.height / 4096.0;
    flips += flipped, erasures += erased, both += flipped && erased;
  }
  EXPECT_NEAR(flips, draws / 2, 90);  // four standard deviations
  EXPECT_NEAR(erasures, draws / 2, 90);
  EXPECT_NEAR(both, draws / 4, 90);
  EXPECT_NEAR(area_flipped / flips, area_upright / (draws - flips), 0.03);
}

}  // namespace
}  // namespace gondola
