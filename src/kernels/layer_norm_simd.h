#pragma once

// The layer normalisation of layer_norm_avx2.cpp and layer_norm_avx512.cpp.
#include "kernels/layer_norm.h"
#include "kernels/rows_simd.h"

namespace gondola {
namespace {

inline float mean_of(const float* x, std::size_t width) {
  Vector sums = broadcast(0);
  for (std::size_t i = 0; i < width; i += lanes) sums = sums + load_first(x + i, width - i);
  return sum_of(sums) / static_cast<float>(width);
}

inline float variance_of(const float* x, std::size_t width, Vector mean) {
  const Vector zero = broadcast(0);
  Vector sums = zero;
  for (std::size_t i = 0; i < width; i += lanes) {
    const Vector deviation = keep_first(load_first(x + i, width - i) - mean, width - i, zero);
    sums = multiply_add(deviation, deviation, sums);
  }
  return sum_of(sums) / static_cast<float>(width);
}

inline void layer_norm_rows(const LayerNormArguments& n) {
  for (std::size_t row = 0; row < n.rows; ++row) {
    const float* in = n.in + row * n.in_stride;
    const Vector mean = broadcast(mean_of(in, n.width));
    const float deviation = __builtin_sqrtf(variance_of(in, n.width, mean) + n.eps);
    const Vector scale = broadcast(1 / deviation);
    write_row(n.out, row, n.width, [&](std::size_t i) {
      const std::size_t rest = n.width - i;
      const Vector normal = (load_first(in + i, rest) - mean) * scale;
      return multiply_add(normal, load_first(n.weight + i, rest), load_first(n.bias + i, rest));
    });
  }
}

}  // namespace
}  // namespace gondola
