#pragma once

// The layer normalisation of layer_norm_avx2.cpp and layer_norm_avx512.cpp.
#include "kernels/layer_norm.h"
#include "kernels/rows_simd.h"

namespace gondola {
namespace {

/// Σ term(i) over the vectors of a row, in four independent sums: with one, each addition would wait for the previous.
template <class Term>
float sum_of_row(std::size_t width, const Term& term) {
  constexpr std::size_t count = 4;
  Vector sums[count] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
  std::size_t i = 0;
  for (; i + count * lanes <= width; i += count * lanes)
    for (std::size_t k = 0; k < count; ++k) sums[k] = sums[k] + term(i + k * lanes);
  for (; i < width; i += lanes) sums[0] = sums[0] + term(i);
  return sum_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

inline float mean_of(const float* x, std::size_t width) {
  return sum_of_row(width, [&](std::size_t i) { return load_first(x + i, width - i); }) / static_cast<float>(width);
}

inline float variance_of(const float* x, std::size_t width, Vector mean) {
  const auto square = [&](std::size_t i) {
    const Vector deviation = keep_first(load_first(x + i, width - i) - mean, width - i, broadcast(0));
    return deviation * deviation;
  };
  return sum_of_row(width, square) / static_cast<float>(width);
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
