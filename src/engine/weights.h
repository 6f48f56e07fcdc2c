#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/quantized_weights.h"
#include "checkpoint/tensor.h"
#include "config/model_config.h"

namespace gondola {

/// Throws Error naming the first weight that is missing, has an unexpected shape or type, or has no place in the
/// configuration. The linear layers of transformer blocks may be int8 (checkpoint/quantized_weights.h).
void check_weights(const ModelConfig& config, const TensorMap& weights);

/// A tensor's values as fp32: a view of the tensor if it holds aligned fp32, else a converted copy.
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

/// Checked weights, by name below a common prefix ("visual.", "visual.transformer.resblocks.3.").
class Weights {
 public:
  explicit Weights(const TensorMap& tensors) : Weights(tensors, "", is_quantized(tensors)) {}
  /// `quantized`: whether the model has int8 weights, below this prefix or elsewhere.
  Weights(const TensorMap& tensors, std::string prefix, bool quantized)
      : tensors_(&tensors), prefix_(std::move(prefix)), quantized_(quantized) {}

  Weights below(const std::string& name) const { return Weights(*tensors_, prefix_ + name + ".", quantized_); }
  std::string full_name(const std::string& name) const { return prefix_ + name; }
  /// The weight as fp32, whatever its type.
  FloatArray operator[](const std::string& name) const;
  bool contains(const std::string& name) const { return tensors_->contains(prefix_ + name); }

  bool quantized() const { return quantized_; }
  bool is_int8(const std::string& name) const { return tensors_->at(prefix_ + name).type == DType::int8; }
  /// The integers of a weight for which is_int8() is true.
  std::span<const std::int8_t> integers(const std::string& name) const;

 private:
  const TensorMap* tensors_;
  std::string prefix_;
  bool quantized_;
};

}  // namespace gondola
