#pragma once

#include <cstddef>

#include "kernels/rows.h"

namespace gondola {

/// Layer normalisation of each row over its `width` values (Ba et al. 2016), with the biased variance:
/// out = (x − mean) / √(variance + eps) · weight + bias. In fp32 `out` may be `in`.
struct LayerNormArguments {
  std::size_t rows = 0, width = 0;
  const float* in = nullptr;
  std::size_t in_stride = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float eps = 1e-5f;
  RowsOut out;
};

using LayerNormFunction = void(const LayerNormArguments&);
LayerNormFunction layer_norm_scalar, layer_norm_avx2, layer_norm_avx512;

}  // namespace gondola
