#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace gondola {

/// The value of an environment variable; nullopt if it is empty or not set.
std::optional<std::string> environment(const char* name);

/// $XDG_CACHE_HOME, or ~/.cache.
std::filesystem::path cache_home();

/// This machine's name; "?" if it is unknown.
std::string host_name();

/// The path of the program or library that contains this code. Throws Error if it cannot be found.
std::filesystem::path current_binary();

/// The folder of the running program.
std::filesystem::path program_folder();

/// The folders of this name that are shipped with the program: in share/gondola of an installation (bin/gondola), and
/// in the source tree of a build (build/release/gondola).
std::vector<std::filesystem::path> shipped_folders(const std::string& name);

}  // namespace gondola
