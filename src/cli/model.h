#pragma once

#include <string>

#include "base/precision.h"
#include "checkpoint/model_files.h"
#include "cli/command.h"
#include "pipeline/loaded_model.h"

namespace gondola::cli {

/// The model named by --model, or the default model beside the program. Throws Error if there is neither.
std::string model_name(const GlobalOptions& global);

/// That model's configuration and weights, and where its vocabulary is. Throws Error if they cannot be read.
ModelFiles load_files(const GlobalOptions& global);

/// That model, and how to load it according to the global options.
ModelSource model_source(const GlobalOptions& global);

/// The precision in which a model's tower, "image" or "text", runs under --precision.
Precision tower_precision(const GlobalOptions& global, const ModelFiles& files, const std::string& tower);

}  // namespace gondola::cli
