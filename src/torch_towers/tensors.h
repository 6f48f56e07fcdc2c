#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "checkpoint/tensor.h"

namespace torch::nn {
class Module;
}

namespace gondola {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// A copy as fp32 on the CPU.
Tensor from_torch(const at::Tensor& values);

/// A copy as fp32 on the CPU.
at::Tensor to_torch(const Tensor& tensor);

/// A module's parameters and floating-point buffers by name.
NamedTensors tensors_of(const torch::nn::Module& module);

/// The rows scaled to length 1.
at::Tensor normalised(const at::Tensor& rows);

/// Overwrites `into` with the tensor of this name. Throws Error if it is missing or has another shape.
void restore(at::Tensor into, const TensorMap& tensors, const std::string& name);

}  // namespace gondola
