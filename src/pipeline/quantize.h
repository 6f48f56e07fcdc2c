#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/model_files.h"
#include "engine/quantize.h"
#include "image/image.h"
#include "text/clip_tokenizer.h"

namespace gondola {

/// What a model is calibrated and evaluated on: every other image calibrates a ViT, the rest evaluate.
struct QuantizeInputs {
  std::size_t images = 0;
  std::function<Image(std::size_t index)> load;  ///< on any thread
  const ClipTokenizer* tokenizer = nullptr;      ///< without one, texts are random tokens
  std::vector<std::string> labels;               ///< to evaluate zero-shot answers with; empty: words of the vocabulary
};

/// Cosines between the embeddings of two models: raw, and centred by subtracting the first model's mean embedding from
/// both, which leaves what distinguishes one input from another.
struct EmbeddingCosines {
  std::size_t count = 0;
  double min = 1, mean = 1, min_centred = 1, mean_centred = 1;
};
/// Compares the embeddings of two models, n × dim each.
EmbeddingCosines compare_embeddings(std::span<const float> exact, std::span<const float> found, std::size_t dim);

struct QuantizationReport {
  std::vector<QuantizedLayer> layers;
  EmbeddingCosines images, texts;
  std::size_t labels = 0;
  double agreement = 1;                       ///< the share of images whose best label is that of the fp32 model
  std::map<std::size_t, std::string> errors;  ///< of the images used that cannot be read, by index
};

/// Quantises the linear layers of the transformers to int8 by calibration (engine/quantize.h); a ModifiedResNet stays
/// as it is. Throws Error for a model that is already int8, when none of the images that calibrate, or none of those
/// that evaluate, can be read, and when interrupted.
ModelFiles quantize(const ModelFiles& model, const QuantizeInputs& inputs, ThreadPool& pool,
                    QuantizationReport& report);

}  // namespace gondola
