#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace gondola {

/// The value of an environment variable; nothing when it is empty or not set.
std::optional<std::string> environment(const char* name);

/// $XDG_CACHE_HOME, or ~/.cache.
std::filesystem::path cache_home();

}  // namespace gondola
