#pragma once

// The softmax of softmax_avx2.cpp and softmax_avx512.cpp.
#include "kernels/simd_math.h"
#include "kernels/softmax.h"

namespace gondola {
namespace {

/// Lane l sums the elements l, l + lanes, … in order, and unseen elements count as 0: more of them change nothing.
inline void softmax_row(float* scores, std::size_t visible, std::size_t columns) {
  const Vector lowest = broadcast(-3.4028234e38f), zero = broadcast(0);
  Vector highest = lowest;
  for (std::size_t i = 0; i < visible; i += lanes)
    highest = maximum(highest, keep_first(load_first(scores + i, visible - i), visible - i, lowest));
  const Vector shift = broadcast(maximum_of(highest));
  Vector sums = zero;
  for (std::size_t i = 0; i < visible; i += lanes) {
    const std::size_t rest = visible - i;
    const Vector e = keep_first(exponential(load_first(scores + i, rest) - shift), rest, zero);
    sums = sums + e;
    store_first(scores + i, e, columns - i);
  }
  const Vector scale = broadcast(1 / sum_of(sums));
  for (std::size_t i = 0; i < visible; i += lanes)
    store_first(scores + i, load_first(scores + i, visible - i) * scale, columns - i);
  const std::size_t written = (visible + lanes - 1) / lanes * lanes;
  for (std::size_t i = written; i < columns; i += lanes) store_first(scores + i, zero, columns - i);
}

inline void softmax_rows(const SoftmaxArguments& s) {
  for (std::size_t row = 0; row < s.rows; ++row) {
    std::size_t visible = s.columns;
    if (s.causal && s.first_visible + row < visible) visible = s.first_visible + row;
    softmax_row(s.scores + row * s.stride, visible, s.columns);
  }
}

}  // namespace
}  // namespace gondola
