#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace gondola {

/// Returns body(x) but keeps only x for the backward pass, which recomputes the rest (Chen et al. 2016, arXiv
/// 1604.06174, "activation checkpointing"). `body` must be deterministic and free of side effects, and what it refers
/// to must outlive the backward pass. If x needs no gradient, `body` is simply called.
at::Tensor recompute_in_backward(const std::function<at::Tensor(const at::Tensor&)>& body, const at::Tensor& x);

}  // namespace gondola
