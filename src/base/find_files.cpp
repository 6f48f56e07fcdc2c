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
  std::vector<fs::path> open;  ///< the folders that are being searched, without links; the first is the whole

  void in(const fs::path& folder) {
    std::error_code error, unknown;  // the latter of what is gone by now
    const fs::path place = fs::canonical(folder, error);
    if (std::ranges::find(open, place) != open.end()) return;
    open.push_back(place);
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      if (entry->path().filename().string().starts_with('.')) continue;
      const bool link = entry->is_symlink(unknown);
      if (entry->is_directory(unknown)) {
        if (!link || leads_elsewhere(entry->path())) in(entry->path());
      } else if (entry->is_regular_file(unknown) || (link && !entry->exists(unknown))) {
        visit(*entry);
      }
    }
    open.pop_back();
    if (error) unreadable(folder, error);
  }

  bool leads_elsewhere(const fs::path& link) const {
    std::error_code gone;
    const fs::path target = fs::canonical(link, gone);
    return !is_within(target, open.front()) && !is_within(open.front(), target);
  }
};

}  // namespace

void find_files(const fs::path& folder, const std::function<void(const fs::directory_entry&)>& visit,
                const std::function<void(const fs::path&, std::error_code)>& unreadable) {
  Search{visit, unreadable, {}}.in(folder);
}

}  // namespace gondola
