#include "engine/weights.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "checkpoint/with_origin.h"
#include "config/weight_shapes.h"
#include "engine/block_weights.h"

namespace gondola {
namespace {

bool is_floating_point(DType type) {
  return type == DType::float16 || type == DType::bfloat16 || type == DType::float32 || type == DType::float64;
}

/// Whether the weight may be int8.
bool is_linear_of_block(const std::string& name) {
  return name.find("transformer.resblocks.") != std::string::npos &&
         std::ranges::any_of(block_layers, [&](const BlockLayer& layer) { return name.ends_with(layer.weight); });
}

/// Whether checkpoints hold this tensor besides the towers' weights.
bool is_outside_towers(const std::string& name) {
  return name == "logit_scale" || name == "logit_bias" || name.ends_with(".num_batches_tracked");
}

}  // namespace

void check_weights(const ModelConfig& config, const TensorMap& weights) {
  const auto shapes = weight_shapes(config);
  std::set<std::string> scales;
  for (const auto& [name, shape] : shapes) {
    const auto found = weights.find(name);
    if (found == weights.end()) fail("{}: the weight {} {} is missing", config.name, name, format_shape(shape));
    const Tensor& tensor = found->second;
    if (tensor.shape != shape)
      fail("{}: the weight {} has shape {}, expected {}", config.name, name, format_shape(tensor.shape),
           format_shape(shape));
    if (tensor.type == DType::int8 && is_linear_of_block(name)) {
      with_origin(config.name, [&weights, &weight = name] { return scales_of(weights, weight); });
      scales.insert(scale_name(name));
    } else if (!is_floating_point(tensor.type)) {
      fail("{}: the weight {} has type {}, expected floating point", config.name, name, gondola::name(tensor.type));
    }
    if (tensor.bytes.size() != static_cast<std::size_t>(tensor.elements()) * size_of(tensor.type))
      fail("{}: the weight {} has {} bytes, which do not fit its shape {}", config.name, name, tensor.bytes.size(),
           format_shape(shape));
  }
  for (const auto& [name, tensor] : weights)
    if (!shapes.contains(name) && !scales.contains(name) && !is_outside_towers(name))
      fail("{}: the weight {} {} has no place in this architecture", config.name, name, format_shape(tensor.shape));
}

FloatArray Weights::operator[](const std::string& name) const {
  const std::string full = prefix_ + name;
  const Tensor& tensor = tensors_->at(full);
  return FloatArray(tensor.type == DType::int8 ? dequantize(tensor, scales_of(*tensors_, full)) : tensor);
}

std::span<const std::int8_t> Weights::integers(const std::string& name) const {
  const std::span<const std::byte> bytes = tensors_->at(prefix_ + name).bytes;
  return {reinterpret_cast<const std::int8_t*>(bytes.data()), bytes.size()};
}

FloatArray::FloatArray(const Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.bytes.data());
  if (tensor.type == DType::float32 && address % alignof(float) == 0) {
    values_ = {reinterpret_cast<const float*>(tensor.bytes.data()), tensor.bytes.size() / sizeof(float)};
    owner_ = tensor.owner;
    return;
  }
  auto converted = std::make_shared<const std::vector<float>>(to_floats(tensor));
  values_ = *converted;
  owner_ = std::move(converted);
}

}  // namespace gondola
