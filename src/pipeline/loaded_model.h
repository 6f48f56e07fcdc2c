#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/precision.h"
#include "base/thread_pool.h"
#include "checkpoint/model_files.h"
#include "config/encoder.h"
#include "pipeline/embed.h"

namespace gondola {

/// Which model to load, and how to run it.
struct ModelSource {
  std::string name_or_path;
  std::optional<std::filesystem::path> config, vocabulary;
  int threads = 0;                     ///< 0: one for each processor
  std::string device = "cpu";          ///< or "cuda", "cuda:1"
  std::optional<Precision> precision;  ///< default: default_precision (pipeline/device_encoder.h)
};

/// A model ready to run: its files, the threads, the towers and, from the first use, its tokenizer.
class LoadedModel {
 public:
  /// Throws Error when the model cannot be read.
  explicit LoadedModel(const ModelSource& source);

  /// Everything but the weights, which the encoder took.
  const ModelFiles& files() const { return files_; }
  const ModelConfig& config() const { return files_.config; }
  std::size_t embed_dim() const { return static_cast<std::size_t>(files_.config.embed_dim); }
  const std::string& device() const { return device_; }
  Precision precision() const { return precision_; }
  /// A hash of the names, types, shapes and first values of all tensors, which any training changes.
  std::uint64_t weights_hash() const { return weights_hash_; }
  ThreadPool& pool() { return pool_; }
  Encoder& encoder() { return *encoder_; }
  /// Throws Error when the model has no vocabulary.
  const ClipTokenizer& tokenizer();
  TextStages text_stages(Overflow overflow) { return {encoder(), pool(), tokenizer(), overflow}; }
  ImageStages image_stages() { return {encoder(), pool(), files().preprocess}; }

  /// The scores of one image against several texts, from their cosines: softmax(exp(logit_scale)·cosine), or for a
  /// model trained with the sigmoid loss (arXiv 2303.15343) σ(exp(logit_scale)·cosine + logit_bias).
  std::vector<double> scores(std::span<const float> cosines) const;

 private:
  ModelFiles files_;
  std::string device_;
  Precision precision_;
  std::uint64_t weights_hash_;
  double logit_scale_, logit_bias_ = 0;
  ThreadPool pool_;
  std::unique_ptr<Encoder> encoder_;
  std::optional<ClipTokenizer> tokenizer_;
};

}  // namespace gondola
