#pragma once

#include <cstddef>

namespace gondola {

/// Replaces each row by its softmax, in place. Where `causal`, row r sees only its first first_visible + r columns (and
/// no more than there are); the others become 0. Adding columns that are not seen does not change a bit of the rest.
struct SoftmaxArguments {
  float* scores = nullptr;
  std::size_t stride = 0, rows = 0, columns = 0;
  bool causal = false;
  std::size_t first_visible = 0;
};

using SoftmaxFunction = void(const SoftmaxArguments&);
SoftmaxFunction softmax_scalar, softmax_avx2, softmax_avx512;

}  // namespace gondola
