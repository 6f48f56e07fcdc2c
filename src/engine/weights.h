#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/quantized_weights.h"
#include "checkpoint/tensor.h"
#include "config/model_config.h"

namespace gondola {

/// Throws Error that names the first weight which is missing, has another shape or type than expected, or for which the
/// configuration has no place. The linear layers of transformer blocks may be int8 (checkpoint/quantized_weights.h).
void check_weights(const ModelConfig& config, const TensorMap& weights);

/// Of every weight that the towers of this configuration read, under OpenAI's names (checkpoint/model_files.h).
std::map<std::string, std::vector<std::int64_t>> weight_shapes(const ModelConfig& config);

/// fp32 values that stay where a file is mapped if they are fp32 there, and are converted otherwise.
class FloatArray {
 public:
  FloatArray() = default;
  explicit FloatArray(const Tensor& tensor);

  const float* data() const { return values_.data(); }
  std::size_t size() const { return values_.size(); }
  std::span<const float> values() const { return values_; }

 private:
  std::span<const float> values_;
  std::shared_ptr<const void> owner_;
};

/// Checked weights by name, below a common prefix ("visual.", "visual.transformer.resblocks.3.").
class Weights {
 public:
  explicit Weights(const TensorMap& tensors) : Weights(tensors, "", is_quantized(tensors)) {}
  /// `quantized`: whether the model has int8 weights, here or elsewhere.
  Weights(const TensorMap& tensors, std::string prefix, bool quantized)
      : tensors_(&tensors), prefix_(std::move(prefix)), quantized_(quantized) {}

  Weights below(const std::string& name) const { return Weights(*tensors_, prefix_ + name + ".", quantized_); }
  std::string full_name(const std::string& name) const { return prefix_ + name; }
  /// As fp32, of whatever type it is.
  FloatArray operator[](const std::string& name) const;
  bool contains(const std::string& name) const { return tensors_->contains(prefix_ + name); }

  bool quantized() const { return quantized_; }
  bool is_int8(const std::string& name) const { return tensors_->at(prefix_ + name).type == DType::int8; }
  /// Of a weight that is_int8.
  std::span<const std::int8_t> integers(const std::string& name) const;

 private:
  const TensorMap* tensors_;
  std::string prefix_;
  bool quantized_;
};

}  // namespace gondola
