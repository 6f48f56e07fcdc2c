#pragma once

#include <malloc.h>

#include <limits>

namespace gondola {

/// Keeps memory that was freed: a step asks for the same gigabytes again, and pages new from the system must be
/// cleared, which took a third of a step. To be called before other threads are.
inline void keep_freed_memory() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  ::mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace gondola
