#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>

namespace gondola::test {

/// The peak memory, in bytes, of the tensors that this thread makes during `work`.
inline std::int64_t peak_memory(const std::function<void()>& work) {
  struct Sum : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
      now += size;
      peak = std::max(peak, now);
    }
    bool memoryProfilingEnabled() const override { return true; }
    std::int64_t now = 0, peak = 0;
  };
  const auto sum = std::make_shared<Sum>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, sum);
  work();
  return sum->peak;
}

}  // namespace gondola::test
