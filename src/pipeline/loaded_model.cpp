#include "pipeline/loaded_model.h"

#include <cmath>

#include "base/error.h"
#include "engine/cpu_encoder.h"
#include "metrics/zero_shot.h"

namespace gondola {
namespace {

/// The only value of a weight.
double scalar(const ModelFiles& files, const std::string& name) {
  const auto found = files.weights.find(name);
  if (found == files.weights.end()) fail("{}: has no tensor {}", files.source.string(), name);
  const std::vector<float> values = to_floats(found->second);
  if (values.size() != 1) fail("{}: {} has {} values, expected 1", files.source.string(), name, values.size());
  return values.front();
}

}  // namespace

LoadedModel::LoadedModel(const ModelSource& source)
    : files_(load_model_files(source.name_or_path, source.config)),
      vocabulary_(source.vocabulary ? source.vocabulary : files_.vocabulary),
      precision_(source.precision.value_or(default_precision(files_.weights))),
      pool_(source.threads == 0 ? available_processors() : source.threads),
      encoder_(make_cpu_encoder(files_.config, files_.weights, CpuOptions{precision_}, pool_)),
      logit_scale_(std::exp(scalar(files_, "logit_scale"))) {
  if (files_.config.sigmoid_loss) logit_bias_ = scalar(files_, "logit_bias");
}

const ClipTokenizer& LoadedModel::tokenizer() {
  if (!tokenizer_) tokenizer_ = load_tokenizer(files_, vocabulary_);
  return *tokenizer_;
}

std::vector<double> LoadedModel::scores(std::span<const float> cosines) const {
  if (!files_.config.sigmoid_loss) return softmax(cosines, logit_scale_);
  std::vector<double> scores;
  for (float cosine : cosines) scores.push_back(1 / (1 + std::exp(-(logit_scale_ * cosine + logit_bias_))));
  return scores;
}

}  // namespace gondola
