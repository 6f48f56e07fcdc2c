#pragma once

#include <cstddef>

namespace gondola {

/// What happens to each element of a product once bias and residual are added.
enum class Epilogue {
  none,
  relu,        ///< max(x, 0)
  gelu,        ///< x·Φ(x), with erf
  gelu_tanh,   ///< x·½(1 + tanh(√(2/π)·(x + 0.044715x³)))
  quick_gelu,  ///< x·σ(1.702x)
};

/// out = epilogue(left · right + bias + residual), in fp32.
///
/// Every element of the product is summed in one order, which depends on `depth` and `taps` alone: neither the number
/// of rows, nor how a caller splits the panels, changes a bit of the result.
struct GemmArguments {
  std::size_t rows = 0;

  /// The left operand: row r is left[r·left_stride + 0 … depth).
  const float* left = nullptr;
  std::size_t left_stride = 0;
  /// Or, where not null, a gathered one, of which a convolution is made: row r is the concatenation over tap t of the
  /// depth / taps floats at left_rows[t·rows + r].
  const float* const* left_rows = nullptr;
  std::size_t taps = 1;

  /// The right operand, depth × columns, packed (kernels/packed_matrix.h); only panels [first_panel, last_panel) are
  /// multiplied.
  const float* panels = nullptr;
  std::size_t depth = 0, columns = 0;
  std::size_t first_panel = 0, last_panel = 0;

  const float* bias = nullptr;      ///< one a column, padded to whole panels; may be null
  const float* residual = nullptr;  ///< rows × columns; may be null, and may be `out` itself
  std::size_t residual_stride = 0;
  Epilogue epilogue = Epilogue::none;

  float* out = nullptr;  ///< rows × columns
  std::size_t out_stride = 0;
};

using GemmFunction = void(const GemmArguments&);
GemmFunction gemm_scalar, gemm_avx2, gemm_avx512;

/// Columns of a panel in each version.
inline constexpr std::size_t scalar_panel_width = 8, avx2_panel_width = 16, avx512_panel_width = 32;

}  // namespace gondola
