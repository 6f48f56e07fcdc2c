#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace gondola {

/// One head of scaled dot-product attention (Vaswani et al. 2017, 3.2.1): out = softmax(q · kᵀ) · v. q must already
/// include the scale 1/√head_width. If `causal`, query i sees only the first visible_to_first + i keys.
struct AttentionArguments {
  std::size_t queries = 0, keys = 0, head_width = 0;
  Precision precision = Precision::fp32;  ///< of q, k and v: fp32, or bf16 if head_width is even
  const void* q = nullptr;
  std::size_t q_stride = 0;
  const void* k = nullptr;
  const void* v = nullptr;
  std::size_t kv_stride = 0;
  bool causal = false;
  std::size_t visible_to_first = 0;
  RowsOut out;               ///< fp32 or bf16
  float* scratch = nullptr;  ///< attention_scratch_size floats; fastest if 64-byte aligned
};

/// The size of `scratch` in floats. Each part of it is made of whole panel rows, so that the next is aligned like it.
std::size_t attention_scratch_size(const Kernels& kernels, std::size_t keys, std::size_t head_width);
void attention(const Kernels& kernels, const AttentionArguments& arguments);

}  // namespace gondola
