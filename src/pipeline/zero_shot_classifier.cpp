#include "pipeline/zero_shot_classifier.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "metrics/zero_shot.h"
#include "pipeline/embed.h"

namespace gondola {

ZeroShotClassifier::ZeroShotClassifier(LoadedModel& model, std::vector<std::string> labels,
                                       std::span<const std::string> templates, Overflow overflow)
    : model_(model), labels_(std::move(labels)) {
  if (labels_.empty() || templates.empty()) fail("a classifier needs at least one label and one template");
  // Part by part, so that a thousand labels in eighty templates do not all lie in memory at once.
  const std::size_t labels_per_part = std::max<std::size_t>(1, 1024 / templates.size());
  std::vector<std::string> prompts;
  for (std::size_t first = 0; first < labels_.size(); first += labels_per_part) {
    prompts.clear();
    for (std::size_t label = first; label < std::min(first + labels_per_part, labels_.size()); ++label)
      for (const std::string& text : templates) prompts.push_back(fill_template(text, labels_[label]));
    const std::vector<float> embeddings = embed_texts(model.encoder(), model.tokenizer(), prompts, overflow);
    const std::vector<float> part = zero_shot_head(embeddings, templates.size(), model.embed_dim());
    head_.insert(head_.end(), part.begin(), part.end());
  }
}

std::vector<double> ZeroShotClassifier::scores(std::span<const float> embedding) const {
  std::vector<float> unit(embedding.begin(), embedding.end());
  normalise_rows(unit, model_.embed_dim());
  return model_.scores(similarities(unit, head_, model_.embed_dim()));
}

}  // namespace gondola
