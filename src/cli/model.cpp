#include "cli/model.h"

#include <filesystem>

#include "base/environment.h"
#include "base/error.h"
#include "pipeline/device_encoder.h"

namespace gondola::cli {

std::string model_name(const GlobalOptions& global) {
  if (!global.model.empty()) return global.model;
  const auto folders = shipped_folders("models/default");
  if (folders.empty())
    fail("the default model is not beside the program ({}); name a model with --model", program_folder().string());
  return std::filesystem::weakly_canonical(folders.front()).string();
}

ModelFiles load_files(const GlobalOptions& global) {
  return load_model_files(model_name(global), global.config, global.vocab);
}

ModelSource model_source(const GlobalOptions& global) {
  return {model_name(global), global.config, global.vocab,
          global.threads,     global.device, parse_precision(global.precision)};
}

Precision tower_precision(const GlobalOptions& global, const ModelFiles& files, const std::string& tower) {
  const auto wanted = parse_precision(global.precision).value_or(default_precision(global.device, files.weights));
  if (global.device != "cpu" && wanted == Precision::int8)
    fail("device {}: int8 is computed on the CPU alone; bf16 and fp32 are here", global.device);
  return tower == "image" ? image_precision(global.device, files.config, wanted) : wanted;
}

}  // namespace gondola::cli
