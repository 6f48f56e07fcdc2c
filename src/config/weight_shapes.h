#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace gondola {

/// The shape of every weight that the towers of this configuration read, by OpenAI's name (checkpoint/model_files.h).
std::map<std::string, std::vector<std::int64_t>> weight_shapes(const ModelConfig& config);

}  // namespace gondola
