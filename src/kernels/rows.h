#pragma once

#include <cstddef>
#include <limits>

#include "kernels/gemm.h"

namespace gondola {

/// Output rows, in the precision of the product that reads them.
struct RowsOut {
  void* data = nullptr;  ///< unsigned bytes in int8
  std::size_t stride = 0;
  Precision precision = Precision::fp32;
  RowScale* scales = nullptr;  ///< int8: [rows][blocks of the width], rows scales_stride apart
  std::size_t scales_stride = 0;

  RowsOut column(std::size_t first) const {
    RowsOut rest = *this;
    rest.data = static_cast<std::byte*>(data) + first * size_of(precision);
    return rest;
  }
  RowsOut from(std::size_t row) const {
    RowsOut rest = *this;
    rest.data = static_cast<std::byte*>(data) + row * stride * size_of(precision);
    if (scales != nullptr) rest.scales += row * scales_stride;
    return rest;
  }
  /// The columns from the start of block `index` of the width on.
  RowsOut block(const DepthBlocks& blocks, std::size_t index) const {
    RowsOut rest = column(blocks.first(index));
    if (scales != nullptr) rest.scales += index;
    return rest;
  }
};

/// Converts rows of fp32. In int8 the bytes of each block of the width (DepthBlocks) span the range from its least to
/// its largest value, widened to include 0. If a block holds a value that is not finite, its scale is not finite
/// either, so that the products show it.
struct ConvertArguments {
  std::size_t rows = 0, width = 0;
  const float* in = nullptr;
  std::size_t in_stride = 0;
  RowsOut out;
};

using ConvertFunction = void(const ConvertArguments&);
ConvertFunction convert_scalar, convert_avx2, convert_avx512;

/// The scale and zero point for values from `least` to `largest`, which may be infinite.
GONDOLA_ALWAYS_INLINE RowScale row_scale(float least, float largest) {
  constexpr float steps = 255;
  least = least < 0 ? least : 0;
  largest = largest > 0 ? largest : 0;
  const float scale = (largest - least) / steps;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  if (!(scale > 0 && scale < infinity)) return {scale, 0};
  return {scale, static_cast<std::int32_t>(0.5f - least / scale)};
}

}  // namespace gondola
