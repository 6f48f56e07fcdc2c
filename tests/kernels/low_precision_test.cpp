// Products in bf16 and int8, and the rows that feed them, against double precision.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>

#include "base/half.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"
#include "tests/kernels/kernels_fixture.h"

namespace gondola {
namespace {

using test::epilogues;
using test::exact;
using test::random_floats;

struct Shape {
  std::size_t rows, depth, columns;
};

constexpr Shape shapes[] = {{1, 4, 1},     {1, 768, 31},   {2, 8, 8},     {6, 64, 16},
                            {7, 60, 17},   {14, 128, 32},  {15, 772, 64}, {50, 1540, 40},
                            {257, 12, 15}, {3, 3072, 100}, {29, 768, 65}, {25, 2052, 129},
                            {16, 64, 32},  {33, 1024, 20}, {300, 68, 33}, {17, 36000, 1}};

/// The operands of one product, as bytes and as the values that these stand for.
struct Problem {
  Problem(const Kernels& kernels, Precision precision, Shape s, std::uint64_t seed)
      : Problem(kernels, precision, s, seed, kernels.int8_weight_limit) {}
  Problem(const Kernels& kernels, Precision precision, Shape s, std::uint64_t seed, int int8_weight_limit) : shape(s) {
    Random random(seed);
    const std::size_t size = size_of(precision), panel_width = kernels.panel_width;
    left_stride = s.depth + 4;
    panels = panel_count(s.columns, panel_width);
    bias = random_floats(shape.columns + avx512_panel_width, random);  // the same draws whatever the panels
    left.resize(s.rows * left_stride * size);
    left_values.resize(s.rows * s.depth);
    weights.resize(s.columns * s.depth * size);
    weight_values.resize(s.columns * s.depth);
    packed = AlignedFloats(packed_bytes(precision, s.depth, s.columns, panel_width) / sizeof(float));
    view = {precision, s.depth, s.columns, reinterpret_cast<const std::byte*>(packed.data())};
    const DepthBlocks blocks(s.depth);
    const std::size_t padded = panels * panel_width;
    sums.assign(blocks.count() * padded, 0);
    scales.assign(s.columns, 0);
    row_scales.resize(s.rows * blocks.count());
    for (float& scale : scales) scale = static_cast<float>(random.uniform(0.001, 0.002));
    scales.resize(padded);
    for (RowScale& scale : row_scales)
      scale = {static_cast<float>(random.uniform(0.01, 0.02)), static_cast<std::int32_t>(random.uniform(0, 255))};
    const auto fill = [&](std::size_t at, std::vector<std::byte>& bytes, double least, double largest) -> double {
      if (precision == Precision::bf16) {
        const std::uint16_t value = bfloat16_from_float(static_cast<float>(random.uniform(-1, 1)));
        std::memcpy(bytes.data() + at * size, &value, size);
        return float_from_bfloat16(value);
      }
      const double value = std::floor(random.uniform(least, largest + 1));
      bytes[at] = static_cast<std::byte>(static_cast<int>(value));
      return value;
    };
    for (std::size_t block = 0; block < blocks.count(); ++block) {
      for (std::size_t k = blocks.first(block); k < blocks.first(block + 1); ++k) {
        for (std::size_t row = 0; row < s.rows; ++row) {
          double value = fill(row * left_stride + k, left, 0, 255);
          const RowScale& scale = row_scales[row * blocks.count() + block];
          if (precision == Precision::int8) value = double{scale.scale} * (value - scale.zero);
          left_values[row * s.depth + k] = value;
        }
        for (std::size_t column = 0; column < s.columns; ++column) {
          double value = fill(column * s.depth + k, weights, -int8_weight_limit, int8_weight_limit);
          if (precision == Precision::int8) {
            sums[block * padded + column] += static_cast<std::int32_t>(value);
            value *= double{scales[column]};
          }
          weight_values[column * s.depth + k] = value;
        }
      }
    }
    if (precision == Precision::int8) {
      view.scales = scales.data();
      view.sums = sums.data();
    }
    pack();
  }

  void pack() {
    const std::size_t bytes = shape.depth * size_of(view.precision);
    pack_columns(weights.data(), bytes, bytes / group_bytes, shape.columns, scales.size() / panels,
                 reinterpret_cast<std::byte*>(packed.data()));
  }

  GemmArguments arguments(void* out, Precision out_precision) const {
    GemmArguments g;
    g.rows = shape.rows;
    g.left = left.data();
    g.left_stride = left_stride;
    g.left_scales = row_scales.data();
    g.right = view;
    g.last_panel = panels;
    g.bias = bias.data();
    g.out = out;
    g.out_stride = shape.columns;
    g.out_precision = out_precision;
    return g;
  }

  void reference(std::size_t row, std::size_t column, double& sum, double& magnitude) const {
    sum = magnitude = 0;
    for (std::size_t k = 0; k < shape.depth; ++k) {
      const double term = left_values[row * shape.depth + k] * weight_values[column * shape.depth + k];
      sum += term;
      magnitude += std::abs(term);
    }
    sum += bias[column];
  }

  Shape shape;
  std::size_t left_stride, panels;
  std::vector<std::byte> left, weights;
  std::vector<double> left_values, weight_values;
  std::vector<float> bias, scales;
  std::vector<std::int32_t> sums;
  std::vector<RowScale> row_scales;
  AlignedFloats packed;
  PackedMatrix view;
};

class LowPrecisionTest : public test::KernelsTest {};

TEST_P(LowPrecisionTest, ProductsAgreeWithDoublePrecision) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    for (const Shape& shape : shapes) {
      const Problem p(kernels(), precision, shape, 1);
      for (Epilogue epilogue : epilogues) {
        std::vector<float> out(shape.rows * shape.columns);
        std::vector<std::uint16_t> out_bf16(out.size());
        GemmArguments g = p.arguments(out.data(), Precision::fp32);
        g.epilogue = epilogue;
        kernels().gemm(g);
        g.out = out_bf16.data();
        g.out_precision = Precision::bf16;
        kernels().gemm(g);
        for (std::size_t row = 0; row < shape.rows; ++row) {
          for (std::size_t column = 0; column < shape.columns; ++column) {
            double sum, magnitude;
            p.reference(row, column, sum, magnitude);
            const double expected = exact(epilogue, sum);
            const bool approximate = epilogue != Epilogue::none && epilogue != Epilogue::relu;
            const double tolerance = 1e-6 * (magnitude + 1) + (approximate ? 1e-3 * std::abs(expected) + 5e-5 : 0);
            const std::size_t at = row * shape.columns + column;
            ASSERT_NEAR(out[at], expected, tolerance)
                << name(precision) << " " << shape.rows << "×" << shape.depth << "×" << shape.columns;
            // Some epilogues give subnormal numbers, which AVX512_BF16 flushes to zero (Intel SDM, VCVTNEPS2BF16).
            const std::uint16_t rounded = bfloat16_from_float(out[at]);
            const bool flushed = std::fpclassify(out[at]) == FP_SUBNORMAL && out_bf16[at] == (rounded & 0x8000);
            ASSERT_TRUE(out_bf16[at] == rounded || flushed) << out[at] << " gave " << out_bf16[at];
          }
        }
      }
    }
  }
}

/// Even where the argument of the exponential overflows to infinity.
TEST_P(LowPrecisionTest, ActivationsOfHugeValuesAreTheirLimits) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    for (const float huge : {3e13f, 1e30f}) {
      Problem p(kernels(), precision, {1, 4, 2}, 1);
      p.bias[0] = huge;
      p.bias[1] = -huge;
      for (Epilogue epilogue : {Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::quick_gelu}) {
        std::vector<float> out(2);
        GemmArguments g = p.arguments(out.data(), Precision::fp32);
        g.epilogue = epilogue;
        kernels().gemm(g);
        EXPECT_NEAR(out[0], huge, 1e-3 * huge);
        EXPECT_NEAR(out[1], 0, 5e-5);
      }
    }
  }
}

TEST_P(LowPrecisionTest, ResultsDoNotDependOnHowRowsAndPanelsAreSplit) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    for (const Shape& shape : shapes) {
      const Problem p(kernels(), precision, shape, 2);
      std::vector<float> out(shape.rows * shape.columns), parts(out.size());
      kernels().gemm(p.arguments(out.data(), Precision::fp32));
      for (std::size_t row = 0; row < shape.rows; ++row) {
        for (std::size_t panel = 0; panel < p.panels; ++panel) {
          GemmArguments g = p.arguments(parts.data() + row * shape.columns, Precision::fp32);
          g.rows = 1;
          g.left = p.left.data() + row * p.left_stride * size_of(precision);
          g.left_scales += row * DepthBlocks(shape.depth).count();
          g.first_panel = panel;
          g.last_panel = panel + 1;
          kernels().gemm(g);
        }
      }
      ASSERT_EQ(parts, out);
    }
  }
}

TEST_P(LowPrecisionTest, AddsTheResidualInPlace) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    for (const Shape& shape : shapes) {
      const Problem p(kernels(), precision, shape, 6);
      Random random(7);
      const std::vector<float> residual = random_floats(shape.rows * shape.columns, random);
      std::vector<float> alone(residual.size()), in_place = residual;
      kernels().gemm(p.arguments(alone.data(), Precision::fp32));
      GemmArguments g = p.arguments(in_place.data(), Precision::fp32);
      g.residual = in_place.data();
      g.residual_stride = g.out_stride;
      kernels().gemm(g);
      for (std::size_t i = 0; i < residual.size(); ++i) ASSERT_EQ(in_place[i], alone[i] + residual[i]);
    }
  }
}

/// Bytes that end right before an inaccessible page.
class GuardedBytes {
 public:
  GuardedBytes(const void* bytes, std::size_t size) {
    constexpr std::size_t page = 4096;
    const std::size_t room = (size + page - 1) / page * page;
    mapped_ = room + page;
    start_ =
        static_cast<std::byte*>(::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::mprotect(start_ + room, page, PROT_NONE);
    data_ = start_ + room - size;
    std::memcpy(data_, bytes, size);
  }
  ~GuardedBytes() { ::munmap(start_, mapped_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  const std::byte* data() const { return data_; }

 private:
  std::byte *start_, *data_;
  std::size_t mapped_;
};

TEST_P(LowPrecisionTest, ReadsNothingBeyondItsOperands) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    for (const Shape& shape : shapes) {
      const Problem p(kernels(), precision, shape, 9);
      std::vector<float> out(shape.rows * shape.columns), expected(out.size());
      GemmArguments g = p.arguments(expected.data(), Precision::fp32);
      kernels().gemm(g);
      const std::size_t size = size_of(precision), last_row = (shape.rows - 1) * p.left_stride + shape.depth;
      const GuardedBytes left(p.left.data(), last_row * size),
          right(p.view.panels, packed_bytes(precision, shape.depth, shape.columns, kernels().panel_width));
      g.left = left.data();
      g.right.panels = right.data();
      g.out = out.data();
      kernels().gemm(g);
      ASSERT_EQ(out, expected);
    }
  }
}

TEST_P(LowPrecisionTest, ZeroRowsLeaveTheOutputUntouched) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    const Problem p(kernels(), precision, {1, 64, 32}, 10);
    std::vector<float> out(32, 9);
    GemmArguments g = p.arguments(out.data(), Precision::fp32);
    g.rows = 0;
    kernels().gemm(g);
    ASSERT_EQ(out, std::vector<float>(32, 9));
  }
}

/// Integer sums are exact, so every version gives the scalar one's bits.
TEST_P(LowPrecisionTest, Int8ProductsOfOneBlockEqualTheScalarOnes) {
  const Kernels& scalar = kernels_for(Isa::scalar);
  for (const Shape& shape : shapes) {
    if (DepthBlocks(shape.depth).count() > 1) continue;
    const Problem here(kernels(), Precision::int8, shape, 3),
        there(scalar, Precision::int8, shape, 3, kernels().int8_weight_limit);
    std::vector<float> out(shape.rows * shape.columns), expected(out.size());
    kernels().gemm(here.arguments(out.data(), Precision::fp32));
    scalar.gemm(there.arguments(expected.data(), Precision::fp32));
    ASSERT_EQ(out, expected) << shape.rows << "×" << shape.depth << "×" << shape.columns;
  }
}

TEST_P(LowPrecisionTest, TheLargestInt8ProductsAreExact) {
  constexpr std::size_t depth = 64, columns = 4;
  const int steps = kernels().int8_weight_limit;
  Problem p(kernels(), Precision::int8, {1, depth, columns}, 11);
  std::ranges::fill(p.left, std::byte{255});
  for (std::size_t i = 0; i < p.weights.size(); ++i)  // columns of one sign each
    p.weights[i] = static_cast<std::byte>(i / depth % 2 == 0 ? steps : -steps);
  p.pack();
  p.row_scales[0] = {1, 0};
  std::ranges::fill(p.scales, 1.0f);
  std::vector<float> out(columns);
  GemmArguments g = p.arguments(out.data(), Precision::fp32);
  g.bias = nullptr;
  kernels().gemm(g);
  const float largest = 255.0f * static_cast<float>(steps) * depth;
  EXPECT_EQ(out, (std::vector<float>{largest, -largest, largest, -largest}));
}

TEST_P(LowPrecisionTest, RowsAreRoundedToTheNearestBf16) {
  Random random(4);
  for (std::size_t width : {1, 5, 8, 17, 100}) {
    std::vector<float> in = random_floats(2 * width, random, 3);
    in[0] = std::numeric_limits<float>::infinity();
    if (width > 1) in[1] = std::nanf("");
    std::vector<std::uint16_t> out(2 * (width + 1), 7);
    kernels().convert({2, width, in.data(), width, {out.data(), width + 1, Precision::bf16}});
    for (std::size_t row = 0; row < 2; ++row) {
      for (std::size_t i = 0; i < width; ++i) {
        const float value = in[row * width + i], found = float_from_bfloat16(out[row * (width + 1) + i]);
        if (std::isnan(value)) {
          ASSERT_TRUE(std::isnan(found));
        } else {
          ASSERT_EQ(found, float_from_bfloat16(bfloat16_from_float(value)));
        }
      }
      ASSERT_EQ(out[row * (width + 1) + width], 7);
    }
  }
}

TEST(DepthBlocks, AreOfWholeCacheLinesAndNoLargerThanOneBlock) {
  for (std::size_t depth = 1; depth < 20000; ++depth) {
    const DepthBlocks blocks(depth);
    ASSERT_EQ(blocks.first(0), 0u);
    ASSERT_EQ(blocks.first(blocks.count()), depth);
    for (std::size_t block = 0; block < blocks.count(); ++block) {
      ASSERT_EQ(blocks.first(block) % 64, 0u) << depth;
      ASSERT_GT(blocks.size(block), 0u) << depth;
      ASSERT_EQ(DepthBlocks(blocks.size(block)).count(), 1u) << depth;
    }
  }
}

TEST_P(LowPrecisionTest, RowsInInt8AreWithinAStepOfTheirValues) {
  Random random(5);
  for (std::size_t width : {4, 12, 100, 768, 772, 1500, 2300, 3072}) {
    for (double offset : {0.0, 5.0, -5.0}) {
      const std::size_t rows = 3, stride = width + 4;
      std::vector<float> in = random_floats(rows * width, random, 2);
      for (float& value : in) value += static_cast<float>(offset);
      std::fill_n(in.begin(), 4, 0.0f);
      std::vector<std::uint8_t> out(rows * stride, 9);
      const DepthBlocks blocks(width);
      std::vector<RowScale> scales(rows * blocks.count());
      kernels().convert(
          {rows, width, in.data(), width, {out.data(), stride, Precision::int8, scales.data(), blocks.count()}});
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t block = 0; block < blocks.count(); ++block) {
          const RowScale& scale = scales[row * blocks.count() + block];
          ASSERT_LE(scale.scale, 7.01f / 255);
          for (std::size_t i = blocks.first(block); i < blocks.first(block + 1); ++i) {
            const float found = scale.scale * static_cast<float>(int{out[row * stride + i]} - scale.zero);
            // The zero point is rounded too, which adds half a step at the ends of the range.
            ASSERT_NEAR(found, in[row * width + i], scale.scale * 1.001f);
          }
        }
        for (std::size_t i = width; i < stride; ++i) ASSERT_EQ(out[row * stride + i], 9);
      }
    }
  }
}

/// Bytes cannot represent NaN or infinity, so the scale does, and it shows in every product with the row.
TEST_P(LowPrecisionTest, RowsInInt8RevealNonFiniteValues) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Random random(12);
  for (std::size_t width : {4, 64, 1500}) {
    for (const float value : {std::nanf(""), infinity, -infinity, 3e38f}) {
      for (const std::size_t place : {std::size_t{0}, width / 2 + 1, width - 1}) {
        std::vector<float> in = random_floats(width, random);
        in[place] = value;
        if (value == 3e38f) in[(place + 1) % width] = -value;  // finite, but farther apart than any float
        std::vector<std::uint8_t> out(width);
        const DepthBlocks blocks(width);
        std::vector<RowScale> scales(blocks.count());
        kernels().convert(
            {1, width, in.data(), width, {out.data(), width, Precision::int8, scales.data(), blocks.count()}});
        for (std::size_t block = 0; block < blocks.count(); ++block) {
          const std::span<const float> values = std::span(in).subspan(blocks.first(block), blocks.size(block));
          const auto [least, largest] = std::ranges::minmax(values);
          const bool fits =
              std::ranges::all_of(values, [](float x) { return std::isfinite(x); }) && std::isfinite(largest - least);
          ASSERT_EQ(std::isfinite(scales[block].scale), fits) << value << " at " << place << " of " << width;
        }
      }
    }
  }
}

TEST_P(LowPrecisionTest, ConstantRowsSurviveConversionToInt8) {
  for (float value : {0.0f, 3.0f, -1e-3f}) {
    const std::vector<float> in(64, value);
    std::vector<std::uint8_t> out(64);
    RowScale scale;
    kernels().convert({1, 64, in.data(), 64, {out.data(), 64, Precision::int8, &scale}});
    for (std::uint8_t byte : out)
      ASSERT_NEAR(scale.scale * static_cast<float>(int{byte} - scale.zero), value, 1e-6f + std::abs(value) * 1e-5f);
  }
}

GONDOLA_FOR_EACH_ISA(LowPrecisionTest);

}  // namespace
}  // namespace gondola
