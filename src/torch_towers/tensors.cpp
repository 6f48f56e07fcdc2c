#include "torch_towers/tensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <torch/nn/module.h>

#include "base/error.h"

namespace gondola {

Tensor from_torch(const at::Tensor& values) {
  const auto floats = values.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* data = floats.const_data_ptr<float>();
  return make_tensor(floats.sizes().vec(), {data, data + floats.numel()});
}

at::Tensor to_torch(const Tensor& tensor) {
  auto values = to_floats(tensor);
  return at::from_blob(values.data(), tensor.shape, at::kFloat).clone();
}

NamedTensors tensors_of(const torch::nn::Module& module) {
  NamedTensors tensors;
  for (const auto& list : {module.named_parameters(), module.named_buffers()})
    for (const auto& item : list)
      if (item.value().is_floating_point()) tensors.emplace_back(item.key(), item.value());
  return tensors;
}

at::Tensor normalised(const at::Tensor& rows) {
  return rows.div(rows.norm(2, 1, true).clamp_min(1e-12));
}

void restore(at::Tensor into, const TensorMap& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail("{} is missing", name);
  if (into.sizes() != found->second.shape)
    fail("{}: found shape {}, expected {}", name, format_shape(found->second.shape), format_shape(into.sizes().vec()));
  const at::NoGradGuard no_gradients;
  into.copy_(to_torch(found->second));
}

}  // namespace gondola
