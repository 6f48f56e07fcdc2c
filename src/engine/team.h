#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace gondola {

/// A barrier for the threads of a team. They spin, since operations on one image are only microseconds apart, and yield
/// when the wait takes longer.
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

  /// Reports that a thread will never arrive: all who wait throw `error`. Only the first error counts.
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

/// A thread's place among those that run one forward pass together. All call the same functions in the same order, each
/// computes its share of every operation, and all wait before an operation that needs the others' results. A thread
/// that works alone is a team of one: its share is everything, and it never waits.
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
