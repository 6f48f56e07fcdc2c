#pragma once

#include <fmt/format.h>

#include <string>

#include "config/model_config.h"

namespace gondola {

/// The library beside the program, which computes on a GPU, and its exports: a function that returns its
/// encoder_plugin_version, and make_torch_encoder (torch_towers/torch_encoder.h). Library and program share C++ types,
/// so both must come from the same build.
inline constexpr const char* encoder_plugin_file = "libgondola-torch.so";
inline constexpr const char* encoder_plugin_version_function = "gondola_encoder_version";
inline constexpr const char* encoder_plugin_make_function = "gondola_make_encoder";

inline std::string encoder_plugin_version() {
  return fmt::format("{}, {}, {}", GONDOLA_VERSION, __VERSION__, sizeof(ModelConfig));
}

}  // namespace gondola
