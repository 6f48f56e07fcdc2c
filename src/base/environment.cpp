#include "base/environment.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/error.h"

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

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "?";
}

std::filesystem::path current_binary() {
  const auto here = reinterpret_cast<std::uintptr_t>(&current_binary);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long first = 0, last = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx", &first, &last) == 2 && first <= here && here < last)
      if (const std::size_t path = line.find('/'); path != std::string::npos) return line.substr(path);
  }
  fail("cannot find the location of this program in /proc/self/maps");
}

std::filesystem::path program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

std::vector<std::filesystem::path> shipped_folders(const std::string& name) {
  std::vector<std::filesystem::path> folders;
  for (const char* place : {"../share/gondola", "../.."})
    if (const auto folder = program_folder() / place / name; std::filesystem::is_directory(folder))
      folders.push_back(folder.lexically_normal());
  return folders;
}

}  // namespace gondola
