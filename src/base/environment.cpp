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

}  // namespace gondola
