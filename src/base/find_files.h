#pragma once

#include <filesystem>
#include <functional>
#include <system_error>

namespace gondola {

/// Whether its name begins with a dot.
bool is_hidden(const std::filesystem::path& path);

/// Visits the files below a folder in no order: neither hidden ones nor those in hidden folders, as ripgrep does (macOS
/// leaves "._IMG_1.jpg" beside IMG_1.jpg), but those that links lead to, as torchvision's ImageFolder does, where they
/// lead out of the folder and not above it, or into what is hidden there; each folder once, by the first of such links
/// in the order of their names. A link to nothing is visited like a file: reading it says what is wrong. A folder that
/// cannot be read is handed to `unreadable`.
void find_files(const std::filesystem::path& folder,
                const std::function<void(const std::filesystem::directory_entry& file)>& visit,
                const std::function<void(const std::filesystem::path& folder, std::error_code error)>& unreadable);

}  // namespace gondola
