#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "config/model_config.h"

namespace gondola {

/// The two towers of one model on some device. Embeddings are not normalised. On a CPU they are bit-identical whatever
/// the batch and whichever function computes them. Not thread-safe: one call at a time, except for
/// encode_images_on_this_thread.
class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual const ModelConfig& config() const = 0;

  /// Encodes images with all threads. pixels: batch × 3 × image_size × image_size, normalised (image/preprocess.h);
  /// embeddings: batch × embed_dim.
  virtual void encode_images(std::span<const float> pixels, std::span<float> embeddings) = 0;

  /// The most efficient number of images for a call of encode_images_on_this_thread. Prepares the tower for such calls.
  virtual std::size_t preferred_batch_size() = 0;

  /// Like encode_images, but on the calling thread only. After a call of preferred_batch_size, all threads inside
  /// ThreadPool::parallel_for on the encoder's pool may call it at the same time, each with its own number.
  virtual void encode_images_on_this_thread(int thread, std::span<const float> pixels, std::span<float> embeddings) = 0;

  /// Encodes texts with all threads. ids: batch × context_length, padded after the end token
  /// (ClipTokenizer::encode_padded); embeddings: batch × embed_dim.
  virtual void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) = 0;
};

}  // namespace gondola
