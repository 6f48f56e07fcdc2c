#include <filesystem>

#include "base/environment.h"
#include "base/error.h"
#include "cli/command.h"

namespace gondola::cli {

void require_new_folder(const std::filesystem::path& path) {
  if (std::filesystem::exists(path) && !std::filesystem::is_empty(path)) fail("{}: is not empty", path.string());
}

std::string model_name(const GlobalOptions& global) {
  if (!global.model.empty()) return global.model;
  const auto folders = shipped_folders("models/default");
  if (folders.empty())
    fail("the default model is not beside the program ({}); name a model with --model", program_folder().string());
  return std::filesystem::weakly_canonical(folders.front()).string();
}

}  // namespace gondola::cli
