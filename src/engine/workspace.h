#pragma once

#include <cstddef>

namespace gondola {

/// Hands out consecutive pieces of one block of memory. Every thread of a team takes the same pieces in the same order,
/// and so gets the same addresses. Without memory it only counts.
class Workspace {
 public:
  explicit Workspace(float* memory = nullptr) : memory_(memory) {}

  float* take(std::size_t size) {
    float* piece = memory_ == nullptr ? nullptr : memory_ + used_;
    constexpr std::size_t line = 16;  // floats; every piece starts on a cache line
    used_ += (size + line - 1) / line * line;
    return piece;
  }

  std::size_t used() const { return used_; }

 private:
  float* memory_;
  std::size_t used_ = 0;
};

}  // namespace gondola
