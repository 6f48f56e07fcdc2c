#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/layer_norm.h"
#include "kernels/softmax.h"
#include "tests/kernels/kernels_fixture.h"

namespace gondola {
namespace {

using test::random_floats;

class SoftmaxTest : public test::KernelsTest {};
class LayerNormTest : public test::KernelsTest {};

std::vector<double> exact_softmax(const float* scores, std::size_t visible, std::size_t columns) {
  const double highest = *std::max_element(scores, scores + visible);
  std::vector<double> result(columns, 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < visible; ++i) sum += result[i] = std::exp(scores[i] - highest);
  for (double& value : result) value /= sum;
  return result;
}

TEST_P(SoftmaxTest, AgreesWithDoublePrecision) {
  Random random(1);
  for (std::size_t columns : {1, 7, 8, 15, 16, 17, 50, 77, 197, 577}) {
    for (double scale : {0.1, 5.0, 300.0}) {
      const std::size_t rows = 3, stride = columns + 4;
      std::vector<float> scores = random_floats(rows * stride, random, scale);
      const std::vector<float> before = scores;
      const std::size_t written = columns + 3;
      kernels().softmax({scores.data(), stride, rows, columns, written, false, 0, {scores.data(), stride}});
      for (std::size_t row = 0; row < rows; ++row) {
        const std::vector<double> expected = exact_softmax(before.data() + row * stride, columns, columns);
        for (std::size_t i = 0; i < columns; ++i) ASSERT_NEAR(scores[row * stride + i], expected[i], 3e-7);
        for (std::size_t i = columns; i < written; ++i) ASSERT_EQ(scores[row * stride + i], 0);
        ASSERT_EQ(scores[row * stride + written], before[row * stride + written]);
      }
    }
  }
}

TEST_P(SoftmaxTest, CausalRowsSeeOnlyTheirPast) {
  Random random(2);
  for (std::size_t columns : {1, 9, 33, 77}) {
    for (std::size_t visible_to_first : {std::size_t{1}, columns / 2 + 1}) {
      std::vector<float> scores = random_floats(columns * columns, random, 4);
      const std::vector<float> before = scores;
      kernels().softmax(
          {scores.data(), columns, columns, columns, columns, true, visible_to_first, {scores.data(), columns}});
      for (std::size_t row = 0; row < columns; ++row) {
        const std::size_t visible = std::min(columns, visible_to_first + row);
        const std::vector<double> expected = exact_softmax(before.data() + row * columns, visible, columns);
        for (std::size_t i = 0; i < columns; ++i) {
          ASSERT_NEAR(scores[row * columns + i], expected[i], 3e-7);
          if (i >= visible) {
            ASSERT_EQ(scores[row * columns + i], 0);
          }
        }
      }
    }
  }
}

TEST_P(SoftmaxTest, UnseenColumnsDoNotChangeABit) {
  Random random(3);
  const std::vector<float> row = random_floats(100, random, 3);
  for (std::size_t visible : {1, 5, 16, 21, 48}) {
    std::vector<float> alone(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(visible));
    kernels().softmax({alone.data(), visible, 1, visible, visible, true, visible, {alone.data(), visible}});
    std::vector<float> longer = row;
    kernels().softmax(
        {longer.data(), longer.size(), 1, longer.size(), longer.size(), true, visible, {longer.data(), longer.size()}});
    for (std::size_t i = 0; i < visible; ++i) ASSERT_EQ(alone[i], longer[i]);
  }
}

TEST_P(SoftmaxTest, ExtremeScoresStayFinite) {
  std::vector<float> scores = {-3e38f, 1e4f, -1e4f, 1e4f, 0};
  kernels().softmax({scores.data(), 5, 1, 5, 5, false, 0, {scores.data(), 5}});
  EXPECT_NEAR(scores[1], 0.5, 1e-6);
  EXPECT_NEAR(scores[3], 0.5, 1e-6);
  for (std::size_t i : {0, 2, 4}) EXPECT_NEAR(scores[i], 0, 1e-30);
}

TEST_P(LayerNormTest, AgreesWithDoublePrecision) {
  Random random(4);
  for (std::size_t width : {1, 5, 8, 16, 17, 48, 100, 512, 768, 1021}) {
    for (double offset : {0.0, 30.0}) {
      const std::size_t rows = 3, in_stride = width + 2, out_stride = width + 1;
      std::vector<float> in = random_floats(rows * in_stride, random, 2);
      for (float& value : in) value += static_cast<float>(offset);
      const std::vector<float> weight = random_floats(width, random), bias = random_floats(width, random);
      std::vector<float> out(rows * out_stride, 7.0f);
      const double eps = 1e-5;
      kernels().layer_norm({rows,
                            width,
                            in.data(),
                            in_stride,
                            weight.data(),
                            bias.data(),
                            static_cast<float>(eps),
                            {out.data(), out_stride}});
      for (std::size_t row = 0; row < rows; ++row) {
        const float* x = in.data() + row * in_stride;
        double mean = 0, variance = 0;
        for (std::size_t i = 0; i < width; ++i) mean += x[i] / double(width);
        for (std::size_t i = 0; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean) / double(width);
        for (std::size_t i = 0; i < width; ++i) {
          const double expected = (x[i] - mean) / std::sqrt(variance + eps) * weight[i] + bias[i];
          ASSERT_NEAR(out[row * out_stride + i], expected, (1 + offset) * 1e-6) << width;
        }
        ASSERT_EQ(out[row * out_stride + width], 7.0f);
      }
    }
  }
}

TEST_P(LayerNormTest, WorksInPlaceAndOnConstantRows) {
  const std::size_t width = 37;
  std::vector<float> weight(width, 2.0f), bias(width, 0.25f), x(width), apart(width);
  const auto normalise = [&](std::vector<float>& out) {
    kernels().layer_norm({1, width, x.data(), width, weight.data(), bias.data(), 1e-5f, {out.data(), width}});
  };
  for (std::size_t i = 0; i < width; ++i) x[i] = static_cast<float>(i * i % 11);
  normalise(apart);
  normalise(x);
  EXPECT_EQ(x, apart);
  std::ranges::fill(x, 3.5f);
  normalise(x);
  for (float value : x) EXPECT_NEAR(value, 0.25, 1e-3);
}

GONDOLA_FOR_EACH_ISA(SoftmaxTest);
GONDOLA_FOR_EACH_ISA(LayerNormTest);

}  // namespace
}  // namespace gondola
