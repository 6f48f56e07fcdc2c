#pragma once

#include <fmt/format.h>

#include <string>

#include "config/model_config.h"

namespace gondola {

/// The library beside the program that computes on a GPU, and what it exports: a function that tells its
/// encoder_plugin_version, and one that is make_torch_encoder (torch_towers/torch_encoder.h). They share C++ types with
/// the program, so that both must be of one build.
inline constexpr const char* encoder_plugin_file = "libgondola-torch.so";
inline constexpr const char* encoder_plugin_version_function = "gondola_encoder_version";
inline constexpr const char* encoder_plugin_make_function = "gondola_make_encoder";

inline std::string encoder_plugin_version() {
  return fmt::format("{}, {}, {}", GONDOLA_VERSION, __VERSION__, sizeof(ModelConfig));
}

}  // namespace gondola
