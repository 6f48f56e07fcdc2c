#pragma once

// The softmax of softmax_avx2.cpp and softmax_avx512.cpp.
#include "kernels/rows_simd.h"
#include "kernels/simd_math.h"
#include "kernels/softmax.h"

namespace gondola {
namespace {

/// Lane l sums the elements l, l + lanes, … in order. Unseen elements count as 0, so more of them change nothing.
template <Vector (*Exponential)(Vector)>
void softmax_row(const SoftmaxArguments& s, std::size_t row, std::size_t visible) {
  float* scores = s.scores + row * s.stride;
  const Vector lowest = broadcast(-3.4028234e38f), zero = broadcast(0);
  Vector highest = lowest;
  for (std::size_t i = 0; i < visible; i += lanes)
    highest = maximum(highest, keep_first(load_first(scores + i, visible - i), visible - i, lowest));
  const Vector shift = broadcast(maximum_of(highest));
  Vector sums = zero;
  for (std::size_t i = 0; i < visible; i += lanes) {
    const std::size_t rest = visible - i;
    const Vector e = keep_first(Exponential(load_first(scores + i, rest) - shift), rest, zero);
    sums = sums + e;
    store_first(scores + i, e, s.out_columns - i);
  }
  const Vector scale = broadcast(1 / sum_of(sums));
  write_row(s.out, row, s.out_columns,
            [&](std::size_t i) { return i < visible ? load_first(scores + i, s.out_columns - i) * scale : zero; });
}

inline void softmax_rows(const SoftmaxArguments& s) {
  for (std::size_t row = 0; row < s.rows; ++row) {
    std::size_t visible = s.columns;
    if (s.causal && s.visible_to_first + row < visible) visible = s.visible_to_first + row;
    if (s.out.precision == Precision::fp32) {
      softmax_row<exponential>(s, row, visible);
    } else {
      softmax_row<fast_exponential>(s, row, visible);
    }
  }
}

}  // namespace
}  // namespace gondola
