// What the golden files do not cover: a window of a result equals that part of the whole, whatever the sizes, and only
// the window is computed. The pixels themselves are compared with Pillow in pillow_test.cpp.
#include "image/resample.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "image/preprocess.h"

namespace gondola {
namespace {

constexpr PixelMode modes[] = {PixelMode::bilevel, PixelMode::grey, PixelMode::grey_alpha, PixelMode::palette,
                               PixelMode::rgb,     PixelMode::rgba, PixelMode::cmyk,       PixelMode::grey16};

Image noise(PixelMode mode, int width, int height, Random& random) {
  Image image = make_image(mode, width, height);
  for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return image;
}

int between(Random& random, int first, int last) {
  return first + static_cast<int>(random.below(static_cast<std::uint64_t>(last - first) + 1));
}

TEST(Resize, AWindowIsThatPartOfTheWholeResult) {
  Random random(1);
  for (int trial = 0; trial < 600; ++trial) {
    const PixelMode mode = modes[trial % std::size(modes)];
    const auto interpolation = static_cast<Interpolation>(random.below(3));
    const Image image = noise(mode, between(random, 1, 40), between(random, 1, 90), random);
    // One trial in three keeps the width and one the height, so that only one pass runs.
    const int width = trial % 3 == 1 ? image.width : between(random, 1, 60);
    const int height = trial % 3 == 2 ? image.height : between(random, 1, 60);
    Window window{between(random, 0, width - 1), between(random, 0, height - 1), 0, 0};
    window.width = between(random, 1, width - window.left);
    window.height = between(random, 1, height - window.top);
    const Image whole = resize(image, width, height, interpolation);
    const Image part = resize(image, width, height, interpolation, window);
    ASSERT_EQ(part.width, window.width);
    ASSERT_EQ(part.height, window.height);
    ASSERT_EQ(part.pixels, crop(whole, window).pixels)
        << image.width << " x " << image.height << " to " << width << " x " << height << ", trial " << trial;
  }
}

TEST(Resize, LeavesAConstantImageConstant) {
  for (PixelMode mode : modes) {
    Image image = make_image(mode, 37, 91);
    std::fill(image.pixels.begin(), image.pixels.end(), std::uint8_t{255});
    const Image resized = resize(image, 50, 23, Interpolation::bicubic);
    EXPECT_TRUE(std::all_of(resized.pixels.begin(), resized.pixels.end(), [](std::uint8_t v) { return v == 255; }));
  }
}

TEST(Resize, RefusesFiltersOfGigabytes) {
  EXPECT_THROW(resize(make_image(PixelMode::grey, 1, 6'000'000), 224, 224, Interpolation::bicubic), Error);
  EXPECT_NO_THROW(resize(make_image(PixelMode::grey, 1, 600'000), 8, 224, Interpolation::bicubic));
}

TEST(Resize, RefusesAWindowOutsideTheResult) {
  const Image image = make_image(PixelMode::rgb, 8, 6);
  const auto bicubic = Interpolation::bicubic;
  EXPECT_THROW(resize(image, 0, 4, bicubic), Error);
  EXPECT_THROW(resize(image, 4, -1, bicubic), Error);
  EXPECT_THROW(resize(image, 4, 4, bicubic, {1, 1, 2, 4}), Error);
  EXPECT_THROW(resize(image, 4, 4, bicubic, {0, 0, 0, 1}), Error);
}

TEST(Resize, ComputesNoMoreThanTheWindowOfAHugeResult) {
  Random random(2);
  const Image image = noise(PixelMode::rgb, 30, 400, random);
  constexpr int huge = 2'000'000'000;  // of which a row alone would take 6 GB
  const Image part = resize(image, huge, 100, Interpolation::bilinear, {huge / 2, 40, 5, 7});
  const Image narrow = resize(image, 30, 100, Interpolation::bilinear, {14, 40, 2, 7});
  for (int y = 0; y < 7; ++y)  // the middle of the image: halfway between its two middle columns
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(part.row(y)[c], (narrow.row(y)[c] + narrow.row(y)[3 + c]) / 2.0, 1.01) << y;
}

/// An image one pixel wide (or high), its pixels a function of the distance from its middle.
Image elongated(PixelMode mode, int length, bool upright) {
  Image image = upright ? make_image(mode, 1, length) : make_image(mode, length, 1);
  const auto pixel = static_cast<std::size_t>(image.bytes_per_pixel());
  for (int i = 0; i < length; ++i)
    for (std::size_t c = 0; c < pixel; ++c)
      image.pixels[static_cast<std::size_t>(i) * pixel + c] =
          static_cast<std::uint8_t>(std::clamp(128 + 40 * (i - length / 2) + 10 * static_cast<int>(c), 0, 255));
  return image;
}

TEST(Preprocess, ComputesOnlyTheCropOfAnElongatedImage) {
  // Resized as a whole, a million pixels in a row would be 224 × 224,000,000: 150 GB. The crop is that of its middle.
  for (PixelMode mode : {PixelMode::rgb, PixelMode::rgba, PixelMode::grey16}) {
    for (bool upright : {true, false}) {
      constexpr std::size_t values = 3 * 224 * 224;
      std::vector<float> of_long(values), of_short(values);
      preprocess(elongated(mode, 1'000'000, upright), {}, of_long);
      preprocess(elongated(mode, 20, upright), {}, of_short);
      for (std::size_t i = 0; i < values; ++i) ASSERT_NEAR(of_long[i], of_short[i], 2.01 / 255 / 0.26) << i;
    }
  }
}

TEST(Preprocess, RefusesAnImageTooElongatedToResize) {
  std::vector<float> out(3 * 224 * 224);
  EXPECT_THROW(preprocess(make_image(PixelMode::grey, 1, 10'000'000), {}, out), Error);
  EXPECT_THROW(preprocess(make_image(PixelMode::bilevel, 1, 9'000'000), {}, out), Error);
  EXPECT_THROW(preprocess(make_image(PixelMode::grey, 1, 5000), {.resize_mode = ResizeMode::longest}, out), Error);
  EXPECT_THROW(preprocess(make_image(PixelMode::grey, 5, 5), {.size = 16}, out), Error);  // room for another size
}

}  // namespace
}  // namespace gondola
