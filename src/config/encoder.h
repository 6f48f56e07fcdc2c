#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "config/model_config.h"

namespace gondola {

/// The two towers of one model on some device. Embeddings are not normalised, and on a CPU depend neither on the batch
/// nor on which of the calls computes them, bit for bit. Not thread-safe: one call at a time, save for
/// encode_images_alone.
class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual const ModelConfig& config() const = 0;

  /// By all threads together. pixels: batch × 3 × image_size × image_size, normalised (image/preprocess.h); embeddings:
  /// batch × embed_dim.
  virtual void encode_images(std::span<const float> pixels, std::span<float> embeddings) = 0;

  /// How many images a call of encode_images_alone makes the best use of. Prepares the tower for such calls.
  virtual std::size_t images_at_a_time() = 0;

  /// The same as encode_images, without help of other threads: inside ThreadPool::for_each on the encoder's pool every
  /// thread may call it with its own number, all at the same time, once images_at_a_time has been asked.
  virtual void encode_images_alone(int thread, std::span<const float> pixels, std::span<float> embeddings) = 0;

  /// ids: batch × context_length, padded after the end token (ClipTokenizer::encode_padded); embeddings: batch ×
  /// embed_dim.
  virtual void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) = 0;
};

}  // namespace gondola
