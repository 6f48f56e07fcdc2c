#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace gondola {

// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a matrix, with all its singular values
// made about equal, so that rare directions move as far as frequent ones.

/// Whether Muon is for this parameter: the matrices between a model's layers, convolutions among them, not the tables
/// of embeddings.
bool is_for_muon(const std::string& name, const at::Tensor& parameter);

/// The update of such a parameter by its momentum (in the parameter's shape): its polar factor times √max(1, rows /
/// columns), where a convolution's rows are its output channels. What computes queries, keys and values are three
/// matrices. `type` is that of the arithmetic; bf16 suffices.
at::Tensor muon_update(const std::string& name, const at::Tensor& momentum, at::ScalarType type);

}  // namespace gondola
