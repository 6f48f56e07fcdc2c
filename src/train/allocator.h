#pragma once

#include <malloc.h>

#include <limits>

namespace gondola {

/// Makes malloc keep freed memory. Every step asks for the same gigabytes again, and the system must clear new pages,
/// which took a third of a step. Call before starting other threads.
inline void keep_freed_memory() {
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  ::mallopt(M_TOP_PAD, 64 << 20);
}

}  // namespace gondola
