#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace gondola {

/// body(x), of which the backward pass keeps x alone and computes the rest again (Chen et al. 2016, arXiv 1604.06174,
/// "activation checkpointing"). `body` must give the same result twice and change nothing; what it refers to must
/// outlive the backward pass. Without a gradient of x to pass on it is simply called.
at::Tensor recompute_in_backward(const std::function<at::Tensor(const at::Tensor&)>& body, const at::Tensor& x);

}  // namespace gondola
