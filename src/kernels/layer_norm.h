#pragma once

#include <cstddef>

namespace gondola {

/// Layer normalisation of each row over its `width` values (Ba et al. 2016), with the biased variance:
/// out = (x − mean) / √(variance + eps) · weight + bias. `out` may be `in`.
struct LayerNormArguments {
  std::size_t rows = 0, width = 0;
  const float* in = nullptr;
  std::size_t in_stride = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float eps = 1e-5f;
  float* out = nullptr;
  std::size_t out_stride = 0;
};

using LayerNormFunction = void(const LayerNormArguments&);
LayerNormFunction layer_norm_scalar, layer_norm_avx2, layer_norm_avx512;

}  // namespace gondola
