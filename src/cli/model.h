#pragma once

#include <string>

#include "base/precision.h"
#include "checkpoint/model_files.h"
#include "cli/command.h"
#include "pipeline/loaded_model.h"

namespace gondola::cli {

/// The model named by --model, or the default model beside the program. Throws Error where there is none.
std::string model_name(const GlobalOptions& global);

/// That model, and how the global options want it loaded.
ModelSource model_source(const GlobalOptions& global);

/// The precision that a model's tower, "image" or "text", runs in under --precision.
Precision tower_precision(const GlobalOptions& global, const ModelFiles& files, const std::string& tower);

}  // namespace gondola::cli
