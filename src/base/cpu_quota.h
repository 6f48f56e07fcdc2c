#pragma once

#include <filesystem>
#include <optional>

namespace gondola {

/// The number of processors whose time this process's control groups allow it, as set by `docker --cpus` or Kubernetes
/// limits; nullopt if there is no limit. `groups` is the mount point of control groups version 1 or 2, `own` the file
/// that names this process's groups.
std::optional<double> cpu_quota(const std::filesystem::path& groups = "/sys/fs/cgroup",
                                const std::filesystem::path& own = "/proc/self/cgroup");

/// How many of `processors` this process can keep busy: at most its share of cpu_quota(), which is divided equally
/// among `processes` and rounded up; at least 1.
int granted_processors(int processors, int processes = 1);

}  // namespace gondola
