// Every instruction set's resampling gives the bytes of the scalar one, which pillow_test.cpp compares with Pillow.
#include "image/resample_kernels.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "image/resample_bytes.h"

namespace gondola {
namespace {

std::vector<Isa> vector_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::avx2, Isa::avx2vnni, Isa::avx512, Isa::avx512vnni})
    if (is_active(isa)) isas.push_back(isa);
  return isas;
}

struct Case {
  int in_width, in_height, out_width, out_height;
};

/// Sizes around the vectors' lanes and groups, single pixels and rows, large and fractional factors, passes that copy.
constexpr Case cases[] = {{1, 1, 1, 1},      {1, 1, 7, 5},     {2, 3, 1, 1},     {1, 40, 3, 17},
                          {40, 1, 17, 3},    {5, 5, 4, 4},     {16, 16, 16, 16}, {17, 15, 16, 9},
                          {31, 33, 64, 65},  {64, 64, 21, 22}, {65, 8, 20, 30},  {63, 9, 63, 4},
                          {100, 37, 13, 37}, {3, 500, 2, 7},   {700, 3, 9, 2},   {332, 256, 290, 224}};

class ResampleKernelsTest : public testing::TestWithParam<Isa> {
 protected:
  void expect_as_scalar(const Image& image, const Coefficients& columns, const Coefficients& rows) {
    Image expected = make_image_like(image, static_cast<int>(columns.taps.size()), static_cast<int>(rows.taps.size()));
    Image found = expected;
    resample_bytes(image, columns, rows, resample_scalar, expected);
    resample_bytes(image, columns, rows, resample_kernels_for(GetParam()), found);
    EXPECT_EQ(found.pixels, expected.pixels) << image.width << " x " << image.height << " to " << found.width << " x "
                                             << found.height << ", " << image.bytes_per_pixel() << " channels";
  }
};

TEST_P(ResampleKernelsTest, AgreesWithTheScalarOne) {
  Random random(1);
  for (const Case& c : cases) {
    for (PixelMode mode : {PixelMode::grey, PixelMode::grey_alpha, PixelMode::rgb, PixelMode::cmyk}) {
      Image image = make_image(mode, c.in_width, c.in_height);
      // Mostly extreme values, so that results over- and undershoot.
      for (std::uint8_t& value : image.pixels)
        value = static_cast<std::uint8_t>(random.below(3) == 0 ? random.below(256) : 255 * random.below(2));
      for (Interpolation interpolation : {Interpolation::bilinear, Interpolation::bicubic}) {
        const Axis horizontal{c.in_width, c.out_width}, vertical{c.in_height, c.out_height};
        expect_as_scalar(image, filter_coefficients(horizontal, interpolation, 0, c.out_width),
                         filter_coefficients(vertical, interpolation, 0, c.out_height));
        // A window that starts inside the image.
        const int left = c.out_width / 2, top = c.out_height / 3;
        expect_as_scalar(image, filter_coefficients(horizontal, interpolation, left, c.out_width - left),
                         filter_coefficients(vertical, interpolation, top, c.out_height - top));
      }
    }
  }
}

TEST_P(ResampleKernelsTest, TakesWeightsFarBeyondThoseOfTheFilters) {
  Random random(2);
  constexpr int taps = 9;
  Image image = make_image(PixelMode::grey, taps, 16);
  for (int trial = 0; trial < 300; ++trial) {
    for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random.below(256));
    Coefficients columns{{{0, taps, 0}}, {}};
    for (int i = 0; i < taps; ++i) columns.weights.push_back(random.uniform(-0.01, 0.01));
    columns.weights[random.below(taps)] = random.uniform(-1.9, 1.9);
    expect_as_scalar(image, columns, filter_coefficients({16, 16}, Interpolation::bicubic, 0, 16));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, ResampleKernelsTest, testing::ValuesIn(vector_isas()),
                         [](const auto& isa) { return std::string(name(isa.param)); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ResampleKernelsTest);

}  // namespace
}  // namespace gondola
