#include "pipeline/embed.h"

#include <algorithm>
#include <cstdint>
#include <exception>

namespace gondola {
namespace {

/// A batch of preprocessed images, and what became of each.
struct ImageBatch {
  std::vector<float> pixels;  // one slot an image
  std::vector<std::string> errors;
};

void load_batch(const ImageStages& stages, std::size_t first, std::size_t pixels_per_image,
                const std::function<Image(std::size_t)>& load, ImageBatch& batch) {
  stages.pool.for_each(batch.errors.size(), [&](std::size_t slot, int) {
    try {
      preprocess(load(first + slot), stages.preprocess,
                 std::span(batch.pixels).subspan(slot * pixels_per_image, pixels_per_image));
    } catch (const std::exception& error) {
      batch.errors[slot] = error.what();
    }
  });
}

/// Moves the images that were loaded to the front and returns their number.
std::size_t close_gaps(ImageBatch& batch, std::size_t pixels_per_image) {
  std::size_t loaded = 0;
  for (std::size_t slot = 0; slot < batch.errors.size(); ++slot) {
    if (!batch.errors[slot].empty()) continue;
    if (loaded != slot)
      std::copy_n(batch.pixels.begin() + static_cast<std::ptrdiff_t>(slot * pixels_per_image), pixels_per_image,
                  batch.pixels.begin() + static_cast<std::ptrdiff_t>(loaded * pixels_per_image));
    ++loaded;
  }
  return loaded;
}

}  // namespace

void embed_images(const ImageStages& stages, std::size_t count, const std::function<Image(std::size_t index)>& load,
                  const std::function<void(const ImageEmbedding&)>& sink) {
  const auto size = static_cast<std::size_t>(stages.preprocess.size);
  const std::size_t pixels_per_image = 3 * size * size;
  const auto dim = static_cast<std::size_t>(stages.encoder.config().embed_dim);
  ImageBatch batch;
  std::vector<float> embeddings;
  for (std::size_t first = 0; first < count; first += stages.batch) {
    batch.errors.assign(std::min(stages.batch, count - first), "");
    batch.pixels.resize(batch.errors.size() * pixels_per_image);
    load_batch(stages, first, pixels_per_image, load, batch);

    const std::size_t loaded = close_gaps(batch, pixels_per_image);
    embeddings.resize(loaded * dim);
    if (loaded > 0) stages.encoder.encode_images(std::span(batch.pixels).first(loaded * pixels_per_image), embeddings);

    std::span<const float> rest = embeddings;
    for (std::size_t slot = 0; slot < batch.errors.size(); ++slot) {
      ImageEmbedding result{first + slot, {}, batch.errors[slot]};
      if (result.error.empty()) {
        result.values = rest.first(dim);
        rest = rest.subspan(dim);
      }
      sink(result);
    }
  }
}

std::vector<float> embed_texts(Encoder& encoder, const ClipTokenizer& tokenizer, std::span<const std::string> texts,
                               Overflow overflow) {
  constexpr std::size_t texts_per_batch = 64;
  const TextTowerConfig& config = encoder.config().text;
  const auto dim = static_cast<std::size_t>(encoder.config().embed_dim);
  std::vector<float> embeddings(texts.size() * dim);
  std::vector<std::int32_t> ids;
  for (std::size_t first = 0; first < texts.size(); first += texts_per_batch) {
    const std::size_t count = std::min(texts_per_batch, texts.size() - first);
    ids.clear();
    for (const std::string& text : texts.subspan(first, count)) {
      const auto padded = tokenizer.encode_padded(text, config.context_length, config.pad_id, overflow);
      ids.insert(ids.end(), padded.begin(), padded.end());
    }
    encoder.encode_texts(ids, std::span(embeddings).subspan(first * dim, count * dim));
  }
  return embeddings;
}

}  // namespace gondola
