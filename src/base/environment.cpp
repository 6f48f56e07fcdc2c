#include "base/environment.h"

#include <cstdlib>

namespace gondola {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::filesystem::path cache_home() {
  if (const auto folder = environment("XDG_CACHE_HOME")) return *folder;
  return std::filesystem::path(environment("HOME").value_or("/")) / ".cache";
}

std::filesystem::path program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

std::vector<std::filesystem::path> shipped_folders(const std::string& name) {
  std::vector<std::filesystem::path> folders;
  for (const char* place : {"../..", "../share/gondola"})
    if (const auto folder = program_folder() / place / name; std::filesystem::is_directory(folder))
      folders.push_back(folder.lexically_normal());
  return folders;
}

}  // namespace gondola
