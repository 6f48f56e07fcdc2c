#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "config/model_config.h"
#include "engine/cpu_options.h"
#include "engine/transformer.h"

namespace gondola {

/// The text tower (OpenAI clip/model.py, encode_text). With causal attention, a text is cut after the token that is
/// pooled. This is exact, since no token sees a later one.
class TextTransformer {
 public:
  TextTransformer(const Kernels& kernels, const CpuOptions& options, const ModelConfig& config, const Weights& weights,
                  ThreadPool& pool);

  /// Plans which token of each text is pooled and how many are computed. ids: texts × context_length; throws Error if
  /// one is not in the vocabulary.
  std::vector<Sequence> plan(std::span<const std::int32_t> ids) const;

  /// Floats of memory that forward needs for these texts.
  std::size_t workspace_size(std::size_t threads, std::span<const Sequence> texts) const;

  /// embeddings: texts × embed_dim. `texts` is part of a plan, and `ids` starts with its first text. Called by every
  /// thread of the team, with the same memory.
  void forward(const Team& team, float* memory, std::span<const Sequence> texts, std::span<const std::int32_t> ids,
               float* embeddings) const;

 private:
  std::size_t pooled_position(std::span<const std::int32_t> ids) const;
  std::size_t width() const { return transformer_.config().width; }
  std::size_t context_length() const { return static_cast<std::size_t>(config_.context_length); }

  const Kernels& kernels_;
  TextTowerConfig config_;
  std::size_t embed_dim_;
  FloatArray token_embedding_, positional_embedding_;
  Transformer transformer_;
  LayerNorm final_norm_;
  Linear projection_;
};

}  // namespace gondola
