#pragma once

#include <filesystem>
#include <optional>

namespace gondola {

/// How many processors' time this process's control groups allow it, as `docker --cpus` and Kubernetes' limits say
/// it; nothing where they do not. `groups` is where the groups of version 1 or 2 are mounted, `own` names this
/// process's.
std::optional<double> cpu_quota(const std::filesystem::path& groups = "/sys/fs/cgroup",
                                const std::filesystem::path& own = "/proc/self/cgroup");

/// How many of `processors` this process can keep busy: at most its part of cpu_quota(), which `processes` share
/// equally, rounded up; at least 1.
int granted_processors(int processors, int processes = 1);

}  // namespace gondola
