#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/environment.h"
#include "base/error.h"
#include "cli/command.h"

namespace gondola::cli {

void require_new_folder(const std::filesystem::path& path) {
  if (path.empty()) fail("the folder to write has no name");
  std::filesystem::path place = std::filesystem::absolute(path);
  if (std::filesystem::is_directory(place) && !std::filesystem::is_empty(place))
    fail("{}: is not empty", path.string());
  while (!std::filesystem::exists(place)) place = place.parent_path();
  if (!std::filesystem::is_directory(place)) fail("{}: is a file, expected a folder", place.string());
  if (::access(place.c_str(), W_OK) != 0) fail("{}: cannot be written to: {}", place.string(), std::strerror(errno));
}

std::string model_name(const GlobalOptions& global) {
  if (!global.model.empty()) return global.model;
  const auto folders = shipped_folders("models/default");
  if (folders.empty())
    fail("the default model is not beside the program ({}); name a model with --model", program_folder().string());
  return std::filesystem::weakly_canonical(folders.front()).string();
}

}  // namespace gondola::cli
