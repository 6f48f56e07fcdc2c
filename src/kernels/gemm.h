#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_matrix.h"

namespace gondola {

/// The activation applied to each element of a product after bias and residual are added.
enum class Epilogue {
  none,
  relu,        ///< max(x, 0)
  gelu,        ///< x·Φ(x), with erf
  gelu_tanh,   ///< x·½(1 + tanh(√(2/π)·(x + 0.044715x³)))
  quick_gelu,  ///< x·σ(1.702x)
};

/// What the bytes of one row of the left operand stand for within one block of the depth: scale·(byte − zero).
struct RowScale {
  float scale = 0;
  std::int32_t zero = 0;
};

/// out = epilogue(left · right + bias + residual). The left operand has the precision of the right one; in int8 it is
/// unsigned, with a scale and a zero point for each row and block of the depth. Sums are accumulated in fp32 (in int8,
/// in integers within a block), and the epilogue computes in fp32; in bf16 and int8 its activations are approximate
/// (simd_math.h).
///
/// The order of summation depends on the depth and `taps` alone: neither the number of rows nor how a caller splits the
/// panels changes a bit of the result.
struct GemmArguments {
  std::size_t rows = 0;

  /// The left operand: row r is left[r·left_stride + 0 … depth).
  const void* left = nullptr;
  std::size_t left_stride = 0;
  const RowScale* left_scales = nullptr;  ///< [rows][blocks of the depth]; int8 only
  /// If not null, a gathered left operand instead, as for a convolution: row r is the concatenation over the taps t of
  /// the depth / taps values at left_rows[t·rows + r]. fp32 only.
  const std::byte* const* left_rows = nullptr;
  std::size_t taps = 1;

  PackedMatrix right;
  std::size_t first_panel = 0, last_panel = 0;  ///< the panels to multiply

  const float* bias = nullptr;      ///< one per column, padded to whole panels; may be null
  const float* residual = nullptr;  ///< rows × columns; may be null, and may be `out` itself
  std::size_t residual_stride = 0;
  Epilogue epilogue = Epilogue::none;

  void* out = nullptr;  ///< rows × columns
  std::size_t out_stride = 0;
  Precision out_precision = Precision::fp32;  ///< or bf16
};

using GemmFunction = void(const GemmArguments&);
GemmFunction gemm_scalar;
GemmFunction gemm_fp32_avx2, gemm_bf16_avx2, gemm_int8_avx2, gemm_int8_avx2vnni;
GemmFunction gemm_fp32_avx512, gemm_bf16_avx512, gemm_int8_avx512, gemm_int8_avx512vnni, gemm_bf16_avx512bf16,
    gemm_int8_avx512bf16;
GemmFunction gemm_bf16_amx, gemm_int8_amx;

/// Runs `steps` iterations of independent multiplications and additions in registers only, as fast as the processor
/// can. Returns the number of operations, for the peak speed that products are compared with.
using PeakFunction = std::size_t(std::size_t steps);
PeakFunction peak_scalar;
PeakFunction peak_fp32_avx2, peak_bf16_avx2, peak_int8_avx2, peak_int8_avx2vnni;
PeakFunction peak_fp32_avx512, peak_bf16_avx512, peak_int8_avx512, peak_int8_avx512vnni, peak_bf16_avx512bf16;
PeakFunction peak_bf16_amx, peak_int8_amx;

/// Columns per panel in each version.
inline constexpr std::size_t scalar_panel_width = 8, avx2_panel_width = 16, avx512_panel_width = 32;

}  // namespace gondola
