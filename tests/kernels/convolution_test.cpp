#include "kernels/convolution.h"

#include <gtest/gtest.h>

#include "tests/kernels/kernels_fixture.h"

namespace gondola {
namespace {

using test::random_floats;

class ConvolutionTest : public test::KernelsTest {};

struct Shape {
  std::size_t images, height, width, in, out;
};

TEST_P(ConvolutionTest, AgreesWithDoublePrecision) {
  Random random(1);
  for (const Shape& s : {Shape{1, 1, 1, 1, 1}, Shape{2, 1, 5, 3, 4}, Shape{1, 7, 2, 8, 33}, Shape{3, 9, 11, 16, 20},
                         Shape{1, 20, 17, 5, 7}, Shape{1, 4, 4, 130, 40}}) {
    const std::size_t pixels = s.images * s.height * s.width;
    const std::vector<float> in = random_floats(pixels * s.in, random);
    const std::vector<float> weight = random_floats(s.out * 9 * s.in, random);  // [out][ky][kx][in]
    const std::size_t panels = panel_count(s.out, kernels().panel_width);
    const std::vector<float> bias = random_floats(panels * kernels().panel_width, random), zeros(s.in, 0.0f);
    const test::Packed packed(kernels(), weight, 9 * s.in, s.out);
    std::vector<float> out(pixels * s.out);
    ConvolutionArguments c = {s.height,    s.width,     s.in,           in.data(),  zeros.data(),
                              packed.view, bias.data(), Epilogue::relu, out.data(), 0,
                              pixels,      0,           panels};
    convolve_3x3(kernels(), c);

    for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
      const std::size_t image = pixel / (s.height * s.width), y = pixel / s.width % s.height, x = pixel % s.width;
      for (std::size_t o = 0; o < s.out; ++o) {
        double sum = bias[o];
        for (std::size_t ky = 0; ky < 3; ++ky) {
          for (std::size_t kx = 0; kx < 3; ++kx) {
            if (y + ky < 1 || y + ky > s.height || x + kx < 1 || x + kx > s.width) continue;
            const std::size_t neighbour = (image * s.height + y + ky - 1) * s.width + x + kx - 1;
            for (std::size_t i = 0; i < s.in; ++i)
              sum += double{in[neighbour * s.in + i]} * weight[((o * 3 + ky) * 3 + kx) * s.in + i];
          }
        }
        ASSERT_NEAR(out[pixel * s.out + o], std::max(sum, 0.0), 4e-5);
      }
    }

    // The same in parts: the pixels in two, and each panel alone.
    std::vector<float> parts(out.size());
    c.out = parts.data();
    for (std::size_t panel = 0; panel < panels; ++panel) {
      c.first_panel = panel;
      c.last_panel = panel + 1;
      c.first_pixel = 0;
      c.last_pixel = pixels / 3;
      convolve_3x3(kernels(), c);
      c.first_pixel = pixels / 3;
      c.last_pixel = pixels;
      convolve_3x3(kernels(), c);
    }
    ASSERT_EQ(parts, out);
  }
}

TEST(GatherPatches, TakesEveryWindowInPyTorchsOrder) {
  Random random(2);
  struct Case {
    std::size_t height, width, kernel, stride, padding;
  };
  for (const Case& c : {Case{1, 1, 3, 2, 1}, Case{8, 12, 4, 4, 0}, Case{7, 10, 3, 2, 1}, Case{5, 6, 3, 1, 1},
                        Case{4, 4, 3, 1, 3}, Case{5, 5, 2, 2, 0}}) {
    const std::size_t channels = 3;
    const std::vector<float> image = random_floats(channels * c.height * c.width, random);
    PatchArguments p = {channels, c.height, c.width, c.kernel, c.stride, c.padding, image.data(), nullptr, 0, 0, 0};
    const std::size_t rows = p.out_height() * p.out_width(), values = channels * c.kernel * c.kernel;
    EXPECT_EQ(p.out_height(), (c.height + 2 * c.padding - c.kernel) / c.stride + 1);
    std::vector<float> out(rows * values);
    p.out = out.data();
    p.out_stride = values;
    p.last_row = rows;
    gather_patches(p);
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < values; ++i) {
        const std::size_t channel = i / (c.kernel * c.kernel), ky = i / c.kernel % c.kernel, kx = i % c.kernel;
        const std::size_t y = row / p.out_width() * c.stride + ky, x = row % p.out_width() * c.stride + kx;
        const bool inside = y >= c.padding && y - c.padding < c.height && x >= c.padding && x - c.padding < c.width;
        const float expected = inside ? image[(channel * c.height + y - c.padding) * c.width + x - c.padding] : 0.0f;
        ASSERT_EQ(out[row * values + i], expected);
      }
    }
  }
}

TEST(AveragePool, LeavesOutAnOddLastRowAndColumn) {
  Random random(3);
  for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>(2, 2), {5, 7}, {6, 3}}) {
    const std::size_t images = 2, channels = 5, out_height = height / 2, out_width = width / 2;
    const std::vector<float> in = random_floats(images * height * width * channels, random);
    std::vector<float> out(images * out_height * out_width * channels);
    average_pool_2x2({height, width, channels, in.data(), out.data(), 0, 1});
    average_pool_2x2({height, width, channels, in.data(), out.data(), 1, images * out_height});
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t channel = i % channels, x = i / channels % out_width;
      const std::size_t y = i / (channels * out_width) % out_height, image = i / (channels * out_width * out_height);
      double sum = 0;
      for (std::size_t dy = 0; dy < 2; ++dy)
        for (std::size_t dx = 0; dx < 2; ++dx)
          sum += in[((image * height + 2 * y + dy) * width + 2 * x + dx) * channels + channel];
      ASSERT_NEAR(out[i], sum / 4, 1e-6);
    }
  }
}

GONDOLA_FOR_EACH_ISA(ConvolutionTest);

}  // namespace
}  // namespace gondola
