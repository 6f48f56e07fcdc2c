#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/half.h"
#include "kernels/gemm.h"

namespace gondola {
namespace {

float apply(Epilogue epilogue, float x) {
  switch (epilogue) {
    case Epilogue::none:
      return x;
    case Epilogue::relu:
      return std::max(x, 0.0f);
    case Epilogue::gelu:
      return 0.5f * x * std::erfc(-x * (1 / std::numbers::sqrt2_v<float>));
    case Epilogue::gelu_tanh: {
      const float scale = std::sqrt(2 * std::numbers::inv_pi_v<float>);
      return 0.5f * x * (1 + std::tanh(scale * (x + 0.044715f * x * x * x)));
    }
    case Epilogue::quick_gelu:
      return x / (1 + std::exp(-1.702f * x));
  }
  return x;
}

/// The dot product of two groups; fp32 and bf16 only.
float dot(Precision precision, const std::byte* left, const std::byte* right) {
  if (precision == Precision::fp32) {
    float x, y;
    std::memcpy(&x, left, sizeof x);
    std::memcpy(&y, right, sizeof y);
    return x * y;
  }
  std::uint16_t x[2], y[2];
  std::memcpy(x, left, sizeof x);
  std::memcpy(y, right, sizeof y);
  return float_from_bfloat16(x[0]) * float_from_bfloat16(y[0]) + float_from_bfloat16(x[1]) * float_from_bfloat16(y[1]);
}

/// The product of one row and the column whose first group is at `right`.
float multiply_floats(const GemmArguments& g, std::size_t row, const std::byte* right) {
  const Precision precision = g.right.precision;
  const std::size_t length = g.right.depth / g.taps / group_size(precision);
  float sum = 0;
  for (std::size_t tap = 0; tap < g.taps; ++tap) {
    const auto* left = g.left_rows != nullptr
                           ? g.left_rows[tap * g.rows + row]
                           : static_cast<const std::byte*>(g.left) + row * g.left_stride * size_of(precision);
    for (std::size_t k = 0; k < length; ++k, right += scalar_panel_width * group_bytes)
      sum += dot(precision, left + k * group_bytes, right);
  }
  return sum;
}

float multiply_integers(const GemmArguments& g, std::size_t row, std::size_t column, const std::byte* right) {
  const DepthBlocks blocks(g.right.depth);
  const std::size_t padded = padded_columns(g.right.columns, scalar_panel_width);
  const auto* left = static_cast<const std::uint8_t*>(g.left) + row * g.left_stride;
  float total = 0;
  for (std::size_t block = 0; block < blocks.count(); ++block) {
    std::int32_t sum = 0;
    for (std::size_t k = blocks.first(block); k < blocks.first(block + 1); ++k) {
      const std::byte* group = right + k / group_bytes * scalar_panel_width * group_bytes;
      sum += std::int32_t{left[k]} * static_cast<std::int8_t>(group[k % group_bytes]);
    }
    const RowScale& scale = g.left_scales[row * blocks.count() + block];
    total += scale.scale * static_cast<float>(sum - scale.zero * g.right.sums[block * padded + column]);
  }
  return total * g.right.scales[column];
}

}  // namespace

std::size_t peak_scalar(std::size_t steps) {
  constexpr std::size_t count = 8;
  float sums[count] = {};
  for (std::size_t step = 0; step < steps; ++step) {
    asm volatile("" ::: "memory");
    for (float& sum : sums) sum += sum * 0.5f;
  }
  asm volatile("" ::"r"(sums) : "memory");
  return steps * count * 2;
}

void gemm_scalar(const GemmArguments& g) {
  const std::size_t panel_bytes = g.right.depth / group_size(g.right.precision) * scalar_panel_width * group_bytes;
  const std::size_t last = std::min(g.right.columns, g.last_panel * scalar_panel_width);
  for (std::size_t row = 0; row < g.rows; ++row) {
    for (std::size_t column = g.first_panel * scalar_panel_width; column < last; ++column) {
      const std::byte* right =
          g.right.panels + column / scalar_panel_width * panel_bytes + column % scalar_panel_width * group_bytes;
      float x = g.right.precision == Precision::int8 ? multiply_integers(g, row, column, right)
                                                     : multiply_floats(g, row, right);
      if (g.bias != nullptr) x += g.bias[column];
      if (g.residual != nullptr) x += g.residual[row * g.residual_stride + column];
      x = apply(g.epilogue, x);
      const std::size_t at = row * g.out_stride + column;
      if (g.out_precision == Precision::fp32) {
        static_cast<float*>(g.out)[at] = x;
      } else {
        static_cast<std::uint16_t*>(g.out)[at] = bfloat16_from_float(x);
      }
    }
  }
}

}  // namespace gondola
