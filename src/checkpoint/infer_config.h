#pragma once

#include <string>

#include "checkpoint/tensor.h"
#include "config/model_config.h"

namespace gondola {

/// Infers the configuration of one of OpenAI's own models from the shapes of its weights, as clip.model.build_model
/// does: QuickGELU, heads 64 wide, texts pooled at the largest id. Throws Error when a weight it needs is missing.
ModelConfig infer_openai_config(const TensorMap& weights, const std::string& origin);

}  // namespace gondola
