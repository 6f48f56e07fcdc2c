#pragma once

#include <string>

#include "checkpoint/tensor.h"
#include "config/model_config.h"

namespace gondola {

/// The configuration of OpenAI's own models, read off the shapes of their weights as clip.model.build_model does:
/// QuickGELU, heads 64 wide, texts pooled at the largest id. Throws Error when a weight that tells is missing.
ModelConfig infer_openai_config(const TensorMap& weights, const std::string& origin);

}  // namespace gondola
