#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include <optional>
#include <ostream>

#include "base/half.h"
#include "tests/kernels/kernels_fixture.h"

namespace gondola {
namespace {

using test::epilogues;
using test::exact;
using test::random_floats;

struct Shape {
  std::size_t rows, depth, columns;
};

// Sizes around the tiles (6 × 16, 14 × 32), the blocks of rows (256) and those of the depth (768).
constexpr Shape shapes[] = {{1, 1, 1},     {1, 768, 31}, {2, 5, 8},      {6, 64, 16},    {7, 63, 17},
                            {13, 17, 33},  {14, 64, 32}, {15, 769, 64},  {28, 128, 96},  {50, 1537, 40},
                            {255, 3, 5},   {257, 9, 15}, {3, 3072, 100}, {300, 100, 40}, {1, 4096, 3},
                            {29, 768, 65}, {520, 2, 1},  {49, 767, 47},  {100, 31, 129}};

/// The operands of one product, with strides wider than the rows.
struct Problem {
  Problem(const Kernels& kernels, Shape s, std::uint64_t seed) : shape(s) {
    Random random(seed);
    left_stride = s.depth + 3;
    out_stride = s.columns + 5;
    left = random_floats(s.rows * left_stride, random);
    weight = random_floats(s.columns * s.depth, random);
    residual = random_floats(s.rows * out_stride, random);
    panels = panel_count(s.columns, kernels.panel_width);
    bias = random_floats(panels * kernels.panel_width, random);
    packed.emplace(kernels, weight, s.depth, s.columns);
    out.assign(s.rows * out_stride, untouched);
  }

  GemmArguments arguments() {
    GemmArguments g;
    g.rows = shape.rows;
    g.left = left.data();
    g.left_stride = left_stride;
    g.right = packed->view;
    g.last_panel = panels;
    g.out = out.data();
    g.out_stride = out_stride;
    return g;
  }

  /// The product in double precision, and the sum of the magnitudes of its terms.
  void reference(std::size_t row, std::size_t column, double& sum, double& magnitude) const {
    sum = magnitude = 0;
    for (std::size_t k = 0; k < shape.depth; ++k) {
      const double term = double{left[row * left_stride + k]} * weight[column * shape.depth + k];
      sum += term;
      magnitude += std::abs(term);
    }
  }

  static constexpr float untouched = -12345;
  Shape shape;
  std::size_t left_stride, out_stride, panels;
  std::vector<float> left, weight, residual, bias, out;
  std::optional<test::Packed> packed;
};

class GemmTest : public test::KernelsTest {};

TEST_P(GemmTest, AgreesWithDoublePrecisionForEveryShapeAndEpilogue) {
  constexpr std::uint16_t untouched_bf16 = 7;
  for (const Shape& shape : shapes) {
    for (Epilogue epilogue : epilogues) {
      for (const auto& [with_bias, with_residual] : {std::pair(false, false), {true, false}, {true, true}}) {
        Problem p(kernels(), shape, 1);
        GemmArguments g = p.arguments();
        g.epilogue = epilogue;
        if (with_bias) g.bias = p.bias.data();
        if (with_residual) g.residual = p.residual.data();
        g.residual_stride = p.out_stride;
        kernels().gemm(g);
        std::vector<std::uint16_t> out_bf16(p.out.size(), untouched_bf16);
        g.out = out_bf16.data();
        g.out_precision = Precision::bf16;
        kernels().gemm(g);
        for (std::size_t row = 0; row < shape.rows; ++row) {
          for (std::size_t column = 0; column < p.out_stride; ++column) {
            const float found = p.out[row * p.out_stride + column];
            if (column >= shape.columns) {
              ASSERT_EQ(found, Problem::untouched) << "written beyond the columns";
              ASSERT_EQ(out_bf16[row * p.out_stride + column], untouched_bf16) << "written beyond the columns";
              continue;
            }
            double x, magnitude;
            p.reference(row, column, x, magnitude);
            if (with_bias) x += p.bias[column];
            if (with_residual) x += p.residual[row * p.out_stride + column];
            // Rounding errors of a sum grow with the root of its length.
            const double tolerance = 1e-7 * (magnitude * (1 + std::sqrt(double(shape.depth)) / 8) + 4);
            ASSERT_NEAR(found, exact(epilogue, x), tolerance)
                << shape.rows << "×" << shape.depth << "×" << shape.columns << " at " << row << ", " << column;
            ASSERT_EQ(out_bf16[row * p.out_stride + column], bfloat16_from_float(found));
          }
        }
      }
    }
  }
}

TEST_P(GemmTest, AddsTheResidualInPlace) {
  for (const Shape& shape : shapes) {
    Problem p(kernels(), shape, 2);
    GemmArguments apart = p.arguments();
    apart.residual = p.residual.data();
    apart.residual_stride = p.out_stride;
    kernels().gemm(apart);
    std::vector<float> in_place = p.residual;
    GemmArguments same = apart;
    same.out = in_place.data();
    same.residual = in_place.data();
    kernels().gemm(same);
    for (std::size_t row = 0; row < shape.rows; ++row)
      for (std::size_t column = 0; column < shape.columns; ++column)
        ASSERT_EQ(in_place[row * p.out_stride + column], p.out[row * p.out_stride + column]);
  }
}

TEST_P(GemmTest, ResultsDoNotDependOnHowRowsAndPanelsAreSplit) {
  for (const Shape& shape : shapes) {
    Problem p(kernels(), shape, 3);
    GemmArguments g = p.arguments();
    g.bias = p.bias.data();
    g.epilogue = Epilogue::gelu;
    kernels().gemm(g);
    for (std::size_t group : {1, 5, 14}) {
      std::vector<float> parts(p.out.size(), Problem::untouched);
      for (std::size_t row = 0; row < shape.rows; row += group) {
        for (std::size_t panel = 0; panel < p.panels; ++panel) {
          GemmArguments part = g;
          part.rows = std::min(group, shape.rows - row);
          part.left = p.left.data() + row * p.left_stride;
          part.first_panel = panel;
          part.last_panel = panel + 1;
          part.out = parts.data() + row * p.out_stride;
          kernels().gemm(part);
        }
      }
      ASSERT_EQ(parts, p.out) << shape.rows << "×" << shape.depth << "×" << shape.columns;
    }
  }
}

TEST_P(GemmTest, GathersRowsFromTaps) {
  constexpr std::size_t taps = 9;
  for (const Shape& shape :
       {Shape{1, 9, 1}, Shape{15, 27, 33}, Shape{30, 9 * 64, 40}, Shape{16, 9 * 130, 20}, Shape{3, 9 * 800, 5}}) {
    Problem p(kernels(), shape, 4);
    const std::size_t length = shape.depth / taps;
    std::vector<const std::byte*> rows(taps * shape.rows);
    for (std::size_t tap = 0; tap < taps; ++tap)
      for (std::size_t row = 0; row < shape.rows; ++row)
        rows[tap * shape.rows + row] =
            reinterpret_cast<const std::byte*>(p.left.data() + row * p.left_stride + tap * length);
    GemmArguments g = p.arguments();
    g.left = nullptr;
    g.left_rows = rows.data();
    g.taps = taps;
    kernels().gemm(g);
    for (std::size_t row = 0; row < shape.rows; ++row) {
      for (std::size_t column = 0; column < shape.columns; ++column) {
        double sum, magnitude;
        p.reference(row, column, sum, magnitude);
        ASSERT_NEAR(p.out[row * p.out_stride + column], sum,
                    1e-7 * (magnitude * (1 + std::sqrt(double(shape.depth)) / 8) + 1));
      }
    }
  }
}

/// Activations on a fine grid: a product with the 1 × 1 matrix 1.
TEST_P(GemmTest, ActivationsKeepTheirAccuracyEverywhere) {
  std::vector<float> x;
  for (int i = -40000; i <= 40000; ++i) x.push_back(static_cast<float>(i) * 3e-4f);
  for (float large : {1e-30f, 1e-6f, 20.f, 60.f, 90.f, 1e4f, 1e18f}) {
    x.push_back(large);
    x.push_back(-large);
  }
  const test::Packed one(kernels(), {1.0f}, 1, 1);
  for (Epilogue epilogue : epilogues) {
    std::vector<float> y(x.size());
    GemmArguments g;
    g.rows = x.size();
    g.left = x.data();
    g.left_stride = 1;
    g.right = one.view;
    g.last_panel = 1;
    g.epilogue = epilogue;
    g.out = y.data();
    g.out_stride = 1;
    kernels().gemm(g);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = exact(epilogue, x[i]);
      ASSERT_NEAR(y[i], expected, 2.5e-7 * std::abs(expected) + 1.2e-7 * std::min(1.0f, std::abs(x[i]))) << x[i];
    }
  }
}

TEST_P(GemmTest, NanStaysNan) {
  Problem p(kernels(), {3, 4, 2}, 5);
  p.left[p.left_stride] = std::nanf("");
  for (Epilogue epilogue : epilogues) {
    GemmArguments g = p.arguments();
    g.epilogue = epilogue;
    kernels().gemm(g);
    EXPECT_TRUE(std::isnan(p.out[p.out_stride]));
    EXPECT_FALSE(std::isnan(p.out[0]));
  }
}

GONDOLA_FOR_EACH_ISA(GemmTest);

}  // namespace
}  // namespace gondola
