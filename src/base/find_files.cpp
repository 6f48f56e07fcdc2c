#include "base/find_files.h"

#include <algorithm>
#include <vector>

namespace gondola {
namespace {

namespace fs = std::filesystem;

struct Search {
  const std::function<void(const fs::directory_entry&)>& visit;
  const std::function<void(const fs::path&, std::error_code)>& unreadable;
  std::vector<fs::path> open;  ///< the folders that are being searched, without links

  void in(const fs::path& folder) {
    std::error_code error, unknown;  // the latter of what is gone by now
    const fs::path place = fs::canonical(folder, error);
    if (std::ranges::find(open, place) != open.end()) return;
    open.push_back(place);
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      if (entry->path().filename().string().starts_with('.')) continue;
      if (entry->is_directory(unknown)) {
        in(entry->path());
      } else if (entry->is_regular_file(unknown) || entry->is_symlink(unknown)) {
        visit(*entry);
      }
    }
    open.pop_back();
    if (error) unreadable(folder, error);
  }
};

}  // namespace

void find_files(const fs::path& folder, const std::function<void(const fs::directory_entry&)>& visit,
                const std::function<void(const fs::path&, std::error_code)>& unreadable) {
  Search{visit, unreadable, {}}.in(folder);
}

}  // namespace gondola
