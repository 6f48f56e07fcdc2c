#include <algorithm>
#include <cmath>
#include <numbers>

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

/// The products of one row and the columns of one panel.
void multiply_row(const GemmArguments& g, std::size_t row, const float* panel, float* sums) {
  constexpr std::size_t width = scalar_panel_width;
  std::fill_n(sums, width, 0.0f);
  const std::size_t length = g.depth / g.taps;
  for (std::size_t tap = 0; tap < g.taps; ++tap) {
    const float* left = g.left_rows != nullptr ? g.left_rows[tap * g.rows + row] : g.left + row * g.left_stride;
    for (std::size_t k = 0; k < length; ++k, panel += width)
      for (std::size_t column = 0; column < width; ++column) sums[column] += left[k] * panel[column];
  }
}

}  // namespace

void gemm_scalar(const GemmArguments& g) {
  for (std::size_t panel = g.first_panel; panel < g.last_panel; ++panel) {
    const std::size_t first = panel * scalar_panel_width;
    const std::size_t count = std::min(scalar_panel_width, g.columns - first);
    for (std::size_t row = 0; row < g.rows; ++row) {
      float sums[scalar_panel_width];
      multiply_row(g, row, g.panels + first * g.depth, sums);
      for (std::size_t i = 0; i < count; ++i) {
        float x = sums[i];
        if (g.bias != nullptr) x += g.bias[first + i];
        if (g.residual != nullptr) x += g.residual[row * g.residual_stride + first + i];
        g.out[row * g.out_stride + first + i] = apply(g.epilogue, x);
      }
    }
  }
}

}  // namespace gondola
