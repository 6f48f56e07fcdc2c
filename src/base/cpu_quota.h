#pragma once

#include <filesystem>
#include <optional>

namespace gondola {

/// How many processors' time this process's control groups allow it, as `docker --cpus` and Kubernetes' limits say
/// it; nothing where they do not. `groups` is where the groups of version 1 or 2 are mounted, `own` names this
/// process's.
std::optional<double> cpu_quota(const std::filesystem::path& groups = "/sys/fs/cgroup",
                                const std::filesystem::path& own = "/proc/self/cgroup");

/// Of so many processors those of whose time this process may use as much, at least one, where `processes` share its
/// cpu_quota().
int granted_processors(int processors, int processes = 1);

}  // namespace gondola
