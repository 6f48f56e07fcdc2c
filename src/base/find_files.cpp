#include "base/find_files.h"

#include <algorithm>
#include <vector>

namespace gondola {
namespace {

namespace fs = std::filesystem;

bool is_within(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

struct Search {
  const std::function<void(const fs::directory_entry&)>& visit;
  const std::function<void(const fs::path&, std::error_code)>& unreadable;
  std::vector<fs::path> open;  ///< the places of the folders that are being searched; the first is the whole

  /// `place` is the folder without links.
  void in(const fs::path& folder, const fs::path& place) {
    if (std::ranges::find(open, place) != open.end()) return;
    open.push_back(place);
    std::error_code error, unknown;  // the latter of what is gone by now
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      if (is_hidden(entry->path())) continue;
      const bool link = entry->is_symlink(unknown);
      if (entry->is_directory(unknown)) {
        const fs::path inner = link ? fs::canonical(entry->path(), unknown) : place / entry->path().filename();
        if (!link || is_elsewhere(inner)) in(entry->path(), inner);
      } else if (entry->is_regular_file(unknown) || (link && !entry->exists(unknown))) {
        visit(*entry);
      }
    }
    open.pop_back();
    if (error) unreadable(folder, error);
  }

  /// Whether the search comes by it only through a link.
  bool is_elsewhere(const fs::path& place) const {
    const fs::path& whole = open.front();
    if (is_within(whole, place)) return false;
    return !is_within(place, whole) || std::ranges::any_of(place.lexically_relative(whole), is_hidden);
  }
};

}  // namespace

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

void find_files(const fs::path& folder, const std::function<void(const fs::directory_entry&)>& visit,
                const std::function<void(const fs::path&, std::error_code)>& unreadable) {
  std::error_code unknown;  // to search it says what is wrong
  Search{visit, unreadable, {}}.in(folder, fs::canonical(folder, unknown));
}

}  // namespace gondola
