#include "base/find_files.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace gondola {
namespace {

namespace fs = std::filesystem;

bool is_within(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

struct Search {
  const std::function<void(const fs::directory_entry&)>& visit;
  const std::function<void(const fs::path&, std::error_code)>& unreadable;
  fs::path whole;                           ///< the searched folder's place: its path without links
  std::map<fs::path, fs::path> links = {};  ///< to follow, and the places they lead to
  std::set<std::string> seen = {};          ///< places already searched

  void through(const fs::path& folder) {
    in(folder, whole);
    // Only now, in the order of their names: if several lead to one place, the first one wins on every system.
    while (!links.empty()) {
      const auto link = links.extract(links.begin());
      in(link.key(), link.mapped());
    }
  }

  void in(const fs::path& folder, const fs::path& place) {
    if (!seen.insert(place.string()).second) return;
    std::error_code error, unknown;  // the latter for entries that are gone by now
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      if (is_hidden(entry->path())) continue;
      const bool link = entry->is_symlink(unknown);
      if (entry->is_directory(unknown)) {
        if (!link)
          in(entry->path(), place / entry->path().filename());
        else if (const fs::path end_of_link = fs::canonical(entry->path(), unknown); is_elsewhere(end_of_link))
          links.emplace(entry->path(), end_of_link);
      } else if (entry->is_regular_file(unknown) || (link && !entry->exists(unknown))) {
        visit(*entry);
      }
    }
    if (error) unreadable(folder, error);
  }

  /// Whether the search reaches a place only through a link.
  bool is_elsewhere(const fs::path& place) const {
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
  std::error_code unknown;  // searching it reports the error
  Search{visit, unreadable, fs::canonical(folder, unknown)}.through(folder);
}

}  // namespace gondola
