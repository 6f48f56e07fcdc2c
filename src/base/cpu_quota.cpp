#include "base/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace gondola {
namespace {

namespace fs = std::filesystem;

/// The quota of one group. Version 2: "200000 100000" or "max 100000" µs; version 1: two files, -1 for no limit.
std::optional<double> quota_of(const fs::path& group) {
  double quota = 0, period = 0;
  if (std::ifstream both(group / "cpu.max"); both >> quota >> period) return quota / period;
  if (std::ifstream(group / "cpu.cfs_quota_us") >> quota && std::ifstream(group / "cpu.cfs_period_us") >> period &&
      quota > 0)
    return quota / period;
  return std::nullopt;
}

/// The least quota of a group and its ancestors. Inside a container only some of them may be mounted.
std::optional<double> min_quota(const fs::path& root, fs::path group) {
  std::optional<double> least;
  for (bool at_root = false; !at_root; group = group.parent_path()) {
    at_root = !group.has_relative_path();
    if (const auto quota = quota_of(root / group.relative_path())) least = std::min(least.value_or(*quota), *quota);
  }
  return least;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& groups, const fs::path& own) {
  std::ifstream lines(own);
  std::optional<double> least;
  for (std::string line; std::getline(lines, line);) {  // number:controllers:group; version 2 names no controllers
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool is_of_cpus = ("," + controllers + ",").find(",cpu,") != std::string::npos;
    if (!controllers.empty() && !is_of_cpus) continue;
    // If several controllers share a folder, there is a link to it named after each of them.
    if (const auto quota = min_quota(is_of_cpus ? groups / "cpu" : groups, line.substr(second + 1)))
      least = std::min(least.value_or(*quota), *quota);
  }
  return least;
}

int granted_processors(int processors, int processes) {
  const auto quota = cpu_quota();
  const double granted = quota ? std::ceil(*quota / processes) : processors;
  return std::max(1, static_cast<int>(std::min<double>(processors, granted)));
}

}  // namespace gondola
