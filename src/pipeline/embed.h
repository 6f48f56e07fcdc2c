#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "config/encoder.h"
#include "image/image.h"
#include "image/preprocess.h"
#include "text/clip_tokenizer.h"

namespace gondola {

/// The outcome of one image: its embedding (embed_dim values, not normalised), or why there is none.
struct ImageEmbedding {
  std::size_t index = 0;
  std::span<const float> values;  ///< valid during the call
  std::string error;              ///< empty when there is an embedding
};

struct ImageStages {
  Encoder& encoder;
  ThreadPool& pool;  ///< the encoder's own
  const PreprocessConfig& preprocess;
};

/// Throws Error if any value is infinite or NaN.
void require_numbers(std::span<const float> embeddings);

/// Embeds `count` images: load(index) decodes one (on any thread, several at the same time), then it is preprocessed
/// and encoded. Every thread of the pool takes a few images at a time through all three stages on its own, so that none
/// waits for another; the last ones, fewer than threads, are encoded by all threads together. However many images there
/// are, each thread holds only those few, and a bounded number of embeddings waits for its turn. An image that fails to
/// load is reported and the rest go on. `sink` is called for every index in order, on the calling thread; what it
/// throws stops each thread after its current image and is passed on. Throws Error for an infinite or NaN embedding.
void embed_images(const ImageStages& stages, std::size_t count, const std::function<Image(std::size_t index)>& load,
                  const std::function<void(const ImageEmbedding&)>& sink);

struct TextStages {
  Encoder& encoder;
  ThreadPool& pool;  ///< the encoder's own
  const ClipTokenizer& tokenizer;
  Overflow overflow = Overflow::error;
};

/// Returns the embeddings of texts, n × embed_dim, not normalised. Equal texts are encoded once. Throws Error for a
/// text longer than the context unless it is to be truncated, and for an infinite or NaN embedding.
std::vector<float> embed_texts(const TextStages& stages, std::span<const std::string> texts);

}  // namespace gondola
