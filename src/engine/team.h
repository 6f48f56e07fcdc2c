#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace gondola {

/// Where the threads of a team wait for each other. They spin, since between two operations on one image there are
/// microseconds, and give way to others when it takes longer than that.
class Barrier {
 public:
  explicit Barrier(std::size_t size) : size_(size) {}

  void wait() {
    const std::size_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    constexpr int spins = 4000;
    for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin) {
      if (failed_.load(std::memory_order_acquire)) std::rethrow_exception(error_);
      if (spin < spins) {
        __builtin_ia32_pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  /// A thread will not come any more: whoever waits throws this. The first error counts.
  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (failed_) return;
    error_ = std::move(error);
    failed_.store(true, std::memory_order_release);
  }

 private:
  const std::size_t size_;
  std::atomic<std::size_t> arrived_ = 0, round_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::exception_ptr error_;
};

struct Range {
  std::size_t first = 0, last = 0;
  std::size_t size() const { return last - first; }
};

/// A thread's place among those that run one forward pass together: all call the same functions in the same order, each
/// does its share of every operation, and all wait before one that needs the results of the others. A thread that
/// works on its own is a team of one, which shares everything with itself and never waits.
class Team {
 public:
  Team() = default;
  Team(std::size_t rank, std::size_t size, Barrier& barrier) : rank_(rank), size_(size), barrier_(&barrier) {}

  std::size_t rank() const { return rank_; }
  std::size_t size() const { return size_; }

  /// This thread's part of [0, count).
  Range share(std::size_t count) const { return {count * rank_ / size_, count * (rank_ + 1) / size_}; }

  void wait() const {
    if (barrier_ != nullptr) barrier_->wait();
  }

 private:
  std::size_t rank_ = 0, size_ = 1;
  Barrier* barrier_ = nullptr;
};

}  // namespace gondola
