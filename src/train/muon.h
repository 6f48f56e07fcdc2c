#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "config/model_config.h"

namespace gondola {

// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a matrix, with all its singular values
// made about equal, so that rare directions move as far as frequent ones.

/// Whether Muon is for this parameter: the matrices between a model's layers, convolutions among them, not the tables
/// of embeddings.
bool is_for_muon(const std::string& name, const at::Tensor& parameter);

/// How many matrices such a parameter is, one below the other: every head has its own for queries, keys and values.
std::int64_t matrices_of(const std::string& name, const ModelConfig& model);

/// Whether its rows are what goes in: the projections into the common space, as OpenAI stored them.
bool is_input_major(const std::string& name);

/// The update of such a parameter by its momentum (in the parameter's shape): of each of its matrices the polar factor
/// times √max(1, rows / columns), where a convolution's rows are its output channels. `type` is that of the arithmetic;
/// bf16 suffices. A parameter that is input-major is given, and its update returned, transposed.
at::Tensor muon_update(const at::Tensor& momentum, std::int64_t matrices, at::ScalarType type);

}  // namespace gondola
