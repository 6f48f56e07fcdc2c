#include "checkpoint/quantized_weights.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gondola {

std::string scale_name(const std::string& weight) {
  return weight + "_scale";
}

bool is_quantized(const TensorMap& weights) {
  return std::ranges::any_of(weights, [](const auto& item) { return item.second.type == DType::int8; });
}

const Tensor& scales_of(const TensorMap& weights, const std::string& name) {
  const Tensor& integers = weights.at(name);
  const auto found = weights.find(scale_name(name));
  if (found == weights.end()) fail("the int8 weight {} has no {}", name, scale_name(name));
  const Tensor& scales = found->second;
  if (integers.shape.size() != 2)
    fail("the int8 weight {} has shape {}, expected a matrix", name, format_shape(integers.shape));
  const std::vector<std::int64_t> expected = {integers.shape[0], 1};
  if (scales.type != DType::float32 || scales.shape != expected ||
      scales.bytes.size() != static_cast<std::size_t>(integers.shape[0]) * sizeof(float))
    fail("the scales {} are {} {}, expected float32 {}", scale_name(name), gondola::name(scales.type),
         format_shape(scales.shape), format_shape(expected));
  return scales;
}

Tensor dequantize(const Tensor& integers, const Tensor& scales) {
  std::vector<float> values = to_floats(integers);
  const std::vector<float> scale_values = to_floats(scales);
  const std::size_t in = scale_values.empty() ? 0 : values.size() / scale_values.size();
  for (std::size_t row = 0; row < scale_values.size(); ++row)
    for (std::size_t i = 0; i < in; ++i) values[row * in + i] *= scale_values[row];
  return make_tensor(integers.shape, std::move(values));
}

TensorMap dequantize(const TensorMap& weights) {
  TensorMap result = weights;
  for (const auto& [name, tensor] : weights) {
    if (tensor.type != DType::int8) continue;
    result[name] = dequantize(tensor, scales_of(weights, name));
    result.erase(scale_name(name));
  }
  return result;
}

}  // namespace gondola
