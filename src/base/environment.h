#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace gondola {

/// The value of an environment variable; nothing when it is empty or not set.
std::optional<std::string> environment(const char* name);

/// $XDG_CACHE_HOME, or ~/.cache.
std::filesystem::path cache_home();

/// This machine's name; "?" where it has none.
std::string host_name();

/// The program or library that this code is in. Throws Error when that is not to be found.
std::filesystem::path own_binary();

/// Where the running program is.
std::filesystem::path program_folder();

/// The folders of this name that come along with the program: beside a build in the source tree
/// (build/release/gondola), and beside an installed program (bin/gondola).
std::vector<std::filesystem::path> shipped_folders(const std::string& name);

}  // namespace gondola
