#pragma once

#include <cstdint>
#include <span>

#include "config/model_config.h"

namespace gondola {

/// The two towers of one model on some device. Embeddings are not normalised. Not thread-safe: one call at a time.
class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual const ModelConfig& config() const = 0;

  /// pixels: batch × 3 × image_size × image_size, normalised (image/preprocess.h); embeddings: batch × embed_dim.
  virtual void encode_images(std::span<const float> pixels, std::span<float> embeddings) = 0;

  /// ids: batch × context_length, padded after the end token (ClipTokenizer::encode_padded); embeddings: batch ×
  /// embed_dim.
  virtual void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) = 0;
};

}  // namespace gondola
