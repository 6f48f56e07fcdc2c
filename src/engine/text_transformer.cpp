#include "engine/text_transformer.h"

#include <algorithm>

#include "base/error.h"

namespace gondola {

TextTransformer::TextTransformer(const Kernels& kernels, const CpuOptions& options, const ModelConfig& config,
                                 const Weights& weights, ThreadPool& pool)
    : kernels_(kernels),
      config_(config.text),
      embed_dim_(static_cast<std::size_t>(config.embed_dim)),
      token_embedding_(weights["token_embedding.weight"]),
      positional_embedding_(weights["positional_embedding"]),
      transformer_(kernels, weights.below("transformer"), TransformerConfig(config.text, options, config.text.causal),
                   pool),
      final_norm_(kernels, weights, "ln_final", config.text.norm_eps) {
  const FloatArray projection = weights["text_projection"];
  const FloatArray bias = config_.projection_bias ? weights["text_projection_bias"] : FloatArray();
  projection_ = Linear::from_projection(kernels, projection.values(), bias.values(), width(), embed_dim_);
}

std::vector<Sequence> TextTransformer::plan(std::span<const std::int32_t> ids) const {
  for (std::int32_t id : ids)
    if (id < 0 || id >= config_.vocab_size)
      fail("token {} is not in the vocabulary of {} tokens", id, config_.vocab_size);
  std::vector<Sequence> texts(ids.size() / context_length());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::size_t pooled = pooled_position(ids.subspan(i * context_length(), context_length()));
    const bool cut = config_.causal && !transformer_.config().every_token;
    texts[i] = {0, cut ? pooled + 1 : context_length(), pooled};
  }
  return texts;
}

std::size_t TextTransformer::pooled_position(std::span<const std::int32_t> ids) const {
  switch (config_.pooling) {
    case TextPooling::largest_id:
      return static_cast<std::size_t>(std::ranges::max_element(ids) - ids.begin());
    case TextPooling::end_token: {
      // A text without an end token is pooled at its first position, like argmax over an all-false mask in the
      // reference implementations.
      const auto end = std::ranges::find(ids, config_.end_id);
      return end == ids.end() ? 0 : static_cast<std::size_t>(end - ids.begin());
    }
    case TextPooling::last:
      return ids.size() - 1;
    case TextPooling::first:
      return 0;
  }
  return 0;
}

std::size_t TextTransformer::workspace_size(std::size_t threads, std::span<const Sequence> texts) const {
  Workspace counter;
  TransformerBuffers(counter, kernels_, transformer_.config(), threads, texts);
  return counter.used();
}

void TextTransformer::forward(const Team& team, float* memory, std::span<const Sequence> texts,
                              std::span<const std::int32_t> ids, float* embeddings) const {
  Workspace workspace(memory);
  const TransformerBuffers buffers(workspace, kernels_, transformer_.config(), team.size(), texts);
  std::vector<Sequence> sequences(texts.begin(), texts.end());
  std::size_t rows = 0;
  for (Sequence& sequence : sequences) {
    sequence.first = rows;
    rows += sequence.length;
  }
  const Range mine = team.share(sequences.size());
  for (std::size_t i = mine.first; i < mine.last; ++i) {
    for (std::size_t position = 0; position < sequences[i].length; ++position) {
      const auto id = static_cast<std::size_t>(ids[i * context_length() + position]);
      const float* token = token_embedding_.data() + id * width();
      const float* place = positional_embedding_.data() + position * width();
      std::transform(token, token + width(), place, buffers.tokens + (sequences[i].first + position) * width(),
                     std::plus<>());
    }
  }
  team.wait();
  transformer_.forward(team, buffers, sequences, true);
  final_norm_.apply(team, texts.size(), {buffers.pooled_tokens, width()}, {buffers.pooled_normed.data, width()});
  team.wait();
  projection_.apply(team, texts.size(), {buffers.pooled_normed.data, width()}, {embeddings, embed_dim_});
}

}  // namespace gondola
