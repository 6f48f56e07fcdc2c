#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/loaded_model.h"

namespace gondola {

/// How the prompts of a classifier are encoded.
struct PromptOptions {
  Overflow overflow = Overflow::error;
  /// A folder that caches encoded prompts for later runs (pipeline/head_cache.h); without one nothing is kept.
  std::optional<std::filesystem::path> cache;
  /// Called now and then with the number of prompts encoded so far.
  std::function<void(std::size_t done)> progress = [](std::size_t) {};
};

/// Classifies images by labels alone (arXiv 2103.00020, 3.1.4): every label is put into every template, and the
/// embeddings of these texts become its weights.
class ZeroShotClassifier {
 public:
  /// Encodes labels × templates texts, unless the cache has the result, bit for bit the same. `model` must outlive the
  /// classifier. Throws Error when there are no labels or no templates, for a template without "{}" and, unless it is
  /// to be truncated, for a text longer than the context.
  ZeroShotClassifier(LoadedModel& model, std::vector<std::string> labels, std::span<const std::string> templates,
                     const PromptOptions& options = {});

  const std::vector<std::string>& labels() const { return labels_; }

  /// The score of each label for an image's embedding (LoadedModel::scores).
  std::vector<double> scores(std::span<const float> embedding) const;

 private:
  const LoadedModel& model_;
  std::vector<std::string> labels_;
  std::vector<float> head_;  // labels × embed_dim
};

}  // namespace gondola
