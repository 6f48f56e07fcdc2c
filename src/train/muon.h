#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "config/model_config.h"

namespace gondola {

// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) updates a matrix by its momentum with all singular
// values made about equal, so that rare directions move as far as frequent ones.

/// Whether Muon updates this parameter: true of the matrices between a model's layers, including convolutions, but not
/// of embedding tables.
bool uses_muon(const std::string& name, const at::Tensor& parameter);

/// How many matrices such a parameter stacks along its rows: each head has its own for queries, keys and values.
std::int64_t matrix_count(const std::string& name, const ModelConfig& model);

/// Whether its rows are the inputs: true of the projections into the common space, as OpenAI stored them.
bool is_input_major(const std::string& name);

/// The update of such a parameter, given its momentum in the same shape: for each of its matrices, the polar factor
/// times √max(1, rows / columns); a convolution's rows are its output channels. Computes in `type`; bf16 suffices. For
/// an input-major parameter, pass the momentum transposed; the update is transposed too.
at::Tensor muon_update(const at::Tensor& momentum, std::int64_t matrices, at::ScalarType type);

}  // namespace gondola
