#include "pipeline/zero_shot_classifier.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "metrics/metrics.h"
#include "pipeline/embed.h"
#include "pipeline/head_cache.h"

namespace gondola {
namespace {

/// Returns labels × embed_dim weights, encoded in parts so that not all prompts are in memory at once.
std::vector<float> encode_head(LoadedModel& model, std::span<const std::string> labels,
                               std::span<const std::string> templates, const PromptOptions& options) {
  const TextStages stages = model.text_stages(options.overflow);
  const std::size_t labels_per_part = std::max<std::size_t>(1, 1024 / templates.size());
  std::vector<std::string> prompts;
  std::vector<float> head;
  for (std::size_t first = 0; first < labels.size(); first += labels_per_part) {
    const std::size_t last = std::min(first + labels_per_part, labels.size());
    prompts.clear();
    for (const std::string& label : labels.subspan(first, last - first))
      for (const std::string& text : templates) prompts.push_back(fill_template(text, label));
    const std::vector<float> part = zero_shot_head(embed_texts(stages, prompts), templates.size(), model.embed_dim());
    head.insert(head.end(), part.begin(), part.end());
    options.progress(last * templates.size());
  }
  return head;
}

}  // namespace

ZeroShotClassifier::ZeroShotClassifier(LoadedModel& model, std::vector<std::string> labels,
                                       std::span<const std::string> templates, const PromptOptions& options)
    : model_(model), labels_(std::move(labels)) {
  if (labels_.empty() || templates.empty()) fail("a classifier needs at least one label and one template");
  const auto key = options.cache ? head_key(model, labels_, templates, options.overflow) : std::nullopt;
  if (!key) {
    head_ = encode_head(model, labels_, templates, options);
    return;
  }
  const HeadCache cache(*options.cache);
  if (auto found = cache.find(*key, labels_.size() * model.embed_dim())) {
    head_ = std::move(*found);
  } else {
    head_ = encode_head(model, labels_, templates, options);
    cache.store(*key, head_);
  }
}

std::vector<double> ZeroShotClassifier::scores(std::span<const float> embedding) const {
  std::vector<float> unit(embedding.begin(), embedding.end());
  normalise_rows(unit, model_.embed_dim());
  return model_.scores(similarities(unit, head_, model_.embed_dim()));
}

}  // namespace gondola
