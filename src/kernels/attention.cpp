#include "kernels/attention.h"

#include <algorithm>
#include <cassert>

#include "kernels/packed_matrix.h"

namespace gondola {
namespace {

/// Queries whose scores are kept at a time: four row tiles of AVX-512.
constexpr std::size_t block_queries = 56;

}  // namespace

std::size_t attention_scratch_size(const Kernels& kernels, std::size_t keys, std::size_t head_width) {
  const std::size_t packed = packed_bytes(Precision::fp32, head_width, keys, kernels.panel_width) +
                             packed_bytes(Precision::fp32, keys, head_width, kernels.panel_width);
  return packed / sizeof(float) + 2 * block_queries * padded_columns(keys, kernels.panel_width);
}

void attention(const Kernels& kernels, const AttentionArguments& a) {
  const std::size_t width = kernels.panel_width, group = group_size(a.precision), value_bytes = size_of(a.precision);
  assert(a.head_width % group == 0);
  const std::size_t keys_depth = (a.keys + group - 1) / group * group;
  const std::size_t stride = padded_columns(a.keys, width);  // of scores, which gemm then writes without a mask
  auto* keys = reinterpret_cast<std::byte*>(a.scratch);
  std::byte* values = keys + packed_bytes(a.precision, a.head_width, a.keys, width);
  auto* scores = reinterpret_cast<float*>(values + packed_bytes(a.precision, a.keys, a.head_width, width));
  RowsOut weights = {scores, stride};
  if (a.precision == Precision::bf16) weights = {scores + block_queries * stride, stride, Precision::bf16};
  pack_columns(static_cast<const std::byte*>(a.k), a.kv_stride * value_bytes, a.head_width / group, a.keys, width,
               keys);
  pack_rows(a.precision, a.v, a.kv_stride, a.keys, a.head_width, width, values);

  for (std::size_t first = 0; first < a.queries; first += block_queries) {
    const std::size_t rows = std::min(block_queries, a.queries - first);
    GemmArguments similarity;
    similarity.rows = rows;
    similarity.left = static_cast<const std::byte*>(a.q) + first * a.q_stride * value_bytes;
    similarity.left_stride = a.q_stride;
    similarity.right = {a.precision, a.head_width, stride, keys};
    similarity.last_panel = panel_count(a.keys, width);
    similarity.out = scores;
    similarity.out_stride = stride;
    kernels.gemm(similarity);

    kernels.softmax({scores, stride, rows, a.keys, stride, a.causal, a.visible_to_first + first, weights});

    const RowsOut out = a.out.from(first);
    GemmArguments mixture;
    mixture.rows = rows;
    mixture.left = weights.data;
    mixture.left_stride = stride;
    mixture.right = {a.precision, keys_depth, a.head_width, values};
    mixture.last_panel = panel_count(a.head_width, width);
    mixture.out = out.data;
    mixture.out_stride = out.stride;
    mixture.out_precision = out.precision;
    kernels.gemm(mixture);
  }
}

}  // namespace gondola
