#pragma once

#include <cstddef>

#include "kernels/rows.h"

namespace gondola {

/// The softmax of each row, in fp32 or bf16. If `causal`, row r sees only its first visible_to_first + r columns (at
/// most `columns`); the others become 0, as do those from `columns` to `out_columns`. Adding unseen columns does not
/// change a bit of the rest.
struct SoftmaxArguments {
  float* scores = nullptr;  ///< rows × out_columns; overwritten
  std::size_t stride = 0, rows = 0, columns = 0;
  std::size_t out_columns = 0;  ///< at least `columns`; for a product that reads bf16, whole groups
  bool causal = false;
  std::size_t visible_to_first = 0;
  RowsOut out;  ///< in fp32 it may be the scores themselves
};

using SoftmaxFunction = void(const SoftmaxArguments&);
SoftmaxFunction softmax_scalar, softmax_avx2, softmax_avx512;

}  // namespace gondola
