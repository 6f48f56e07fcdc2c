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
  return packed_size(head_width, keys, kernels.panel_width) + packed_size(keys, head_width, kernels.panel_width) +
         block_queries * padded(keys);
}

void attention(const Kernels& kernels, const AttentionArguments& a) {
  const std::size_t width = kernels.panel_width;
  float* keys = a.scratch;
  float* values = keys + packed_size(a.head_width, a.keys, width);
  float* scores = values + packed_size(a.keys, a.head_width, width);
  const std::size_t scores_stride = padded(a.keys);
  pack_transposed(a.k, a.kv_stride, a.head_width, a.keys, width, keys);
  pack(a.v, a.kv_stride, a.keys, a.head_width, width, values);

  for (std::size_t first = 0; first < a.queries; first += block_queries) {
    const std::size_t rows = std::min(block_queries, a.queries - first);
    GemmArguments similarity;
    similarity.rows = rows;
    similarity.left = a.q + first * a.q_stride;
    similarity.left_stride = a.q_stride;
    similarity.panels = keys;
    similarity.depth = a.head_width;
    similarity.columns = a.keys;
    similarity.last_panel = panel_count(a.keys, width);
    similarity.out = scores;
    similarity.out_stride = scores_stride;
    kernels.gemm(similarity);

    kernels.softmax({scores, scores_stride, rows, a.keys, a.causal, a.first_visible + first});

    GemmArguments mixture;
    mixture.rows = rows;
    mixture.left = scores;
    mixture.left_stride = scores_stride;
    mixture.panels = values;
    mixture.depth = a.keys;
    mixture.columns = a.head_width;
    mixture.last_panel = panel_count(a.head_width, width);
    mixture.out = a.out + first * a.out_stride;
    mixture.out_stride = a.out_stride;
    kernels.gemm(mixture);
  }
}

}  // namespace gondola
