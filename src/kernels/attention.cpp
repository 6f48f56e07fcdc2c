#include "kernels/attention.h"

#include <algorithm>

#include "kernels/packed_matrix.h"

namespace gondola {
namespace {

/// Queries whose scores are held at a time: four row tiles of the widest version.
constexpr std::size_t block_queries = 56;

std::size_t padded(std::size_t count) {
  constexpr std::size_t line = 16;
  return (count + line - 1) / line * line;
}

}  // namespace

std::size_t attention_scratch_size(const Kernels& kernels, std::size_t keys, std::size_t head_width) {
  return (packed_bytes(Precision::fp32, head_width, keys, kernels.panel_width) +
          packed_bytes(Precision::fp32, keys, head_width, kernels.panel_width)) /
             sizeof(float) +
         block_queries * padded(keys);
}

void attention(const Kernels& kernels, const AttentionArguments& a) {
  const std::size_t width = kernels.panel_width;
  constexpr Precision fp32 = Precision::fp32;
  auto* keys = reinterpret_cast<std::byte*>(a.scratch);
  std::byte* values = keys + packed_bytes(fp32, a.head_width, a.keys, width);
  auto* scores = reinterpret_cast<float*>(values + packed_bytes(fp32, a.keys, a.head_width, width));
  const std::size_t scores_stride = padded(a.keys);
  pack_columns(reinterpret_cast<const std::byte*>(a.k), a.kv_stride * sizeof(float), a.head_width, a.keys, width, keys);
  pack_rows(fp32, a.v, a.kv_stride, a.keys, a.head_width, width, values);

  for (std::size_t first = 0; first < a.queries; first += block_queries) {
    const std::size_t rows = std::min(block_queries, a.queries - first);
    GemmArguments similarity;
    similarity.rows = rows;
    similarity.left = a.q + first * a.q_stride;
    similarity.left_stride = a.q_stride;
    similarity.right = {fp32, a.head_width, a.keys, keys};
    similarity.last_panel = panel_count(a.keys, width);
    similarity.out = scores;
    similarity.out_stride = scores_stride;
    kernels.gemm(similarity);

    kernels.softmax({scores, scores_stride, rows, a.keys, a.causal, a.first_visible + first});

    GemmArguments mixture;
    mixture.rows = rows;
    mixture.left = scores;
    mixture.left_stride = scores_stride;
    mixture.right = {fp32, a.keys, a.head_width, values};
    mixture.last_panel = panel_count(a.head_width, width);
    mixture.out = a.out + first * a.out_stride;
    mixture.out_stride = a.out_stride;
    kernels.gemm(mixture);
  }
}

}  // namespace gondola
