#pragma once

#include <filesystem>
#include <functional>
#include <system_error>

namespace gondola {

/// Whether its name begins with a dot.
bool is_hidden(const std::filesystem::path& path);

/// Visits the files below a folder, in no particular order. Skips hidden files and folders, as ripgrep does (macOS
/// leaves "._IMG_1.jpg" beside IMG_1.jpg). Follows links, as torchvision's ImageFolder does, but a link to a folder
/// only if it leads out of `folder` (and not to a folder above it) or into a hidden part of it. Searches each folder
/// once, through the first such link in the order of their names. Visits a dangling link like a file: reading it
/// reports the error. Calls `unreadable` for a folder that cannot be read.
void find_files(const std::filesystem::path& folder,
                const std::function<void(const std::filesystem::directory_entry& file)>& visit,
                const std::function<void(const std::filesystem::path& folder, std::error_code error)>& unreadable);

}  // namespace gondola
