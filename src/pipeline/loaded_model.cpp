#include "pipeline/loaded_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "metrics/metrics.h"
#include "pipeline/device_encoder.h"

namespace gondola {
namespace {

/// The value of a tensor that holds only one.
double scalar(const ModelFiles& files, const std::string& name) {
  const auto found = files.weights.find(name);
  if (found == files.weights.end()) fail("{}: has no tensor {}", files.source.string(), name);
  const std::vector<float> values = to_floats(found->second);
  if (values.size() != 1) fail("{}: {} has {} values, expected 1", files.source.string(), name, values.size());
  return values.front();
}

std::uint64_t hash_weights(const TensorMap& weights) {
  constexpr std::size_t sample_bytes = 256;
  Hash hash;
  for (const auto& [tensor_name, tensor] : weights) {
    hash.add(fmt::format("{} {} {}\n", tensor_name, name(tensor.type), format_shape(tensor.shape)));
    hash.add({reinterpret_cast<const char*>(tensor.bytes.data()), std::min(sample_bytes, tensor.bytes.size())});
  }
  return hash.value();
}

}  // namespace

LoadedModel::LoadedModel(const ModelSource& source)
    : files_(load_model_files(source.name_or_path, source.config, source.vocabulary)),
      device_(source.device),
      precision_(source.precision.value_or(default_precision(device_, files_.weights))),
      weights_hash_(hash_weights(files_.weights)),
      logit_scale_(std::exp(scalar(files_, "logit_scale"))),
      pool_(source.threads) {
  if (!std::isfinite(logit_scale_)) fail("{}: the logit scale is infinite or not a number", files_.config.name);
  if (files_.config.sigmoid_loss) logit_bias_ = scalar(files_, "logit_bias");
  if (!std::isfinite(logit_bias_)) fail("{}: the logit bias is infinite or not a number", files_.config.name);
  encoder_ = make_encoder(device_, files_.config, std::move(files_.weights), CpuOptions{precision_}, pool_);
}

const ClipTokenizer& LoadedModel::tokenizer() {
  if (!tokenizer_) tokenizer_ = load_tokenizer(files_);
  return *tokenizer_;
}

std::vector<double> LoadedModel::scores(std::span<const float> cosines) const {
  if (!files_.config.sigmoid_loss) return softmax(cosines, logit_scale_);
  std::vector<double> scores;
  for (float cosine : cosines) scores.push_back(1 / (1 + std::exp(-(logit_scale_ * cosine + logit_bias_))));
  return scores;
}

}  // namespace gondola
