#pragma once

#include <unistd.h>

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gondola {

/// How many processors this process can keep busy: those that it may run on, but at most cpu_quota() rounded up.
int available_processors();

/// A fixed set of threads that share one loop at a time. The calling thread is one of them, so a pool of 1 has none of
/// its own and runs everything in place.
class ThreadPool {
 public:
  /// `threads` = 0 means available_processors(). Throws Error if the system does not allow so many threads.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(index, thread) once for every index in [0, count), in any order, from threads numbered [0, threads()),
  /// the caller being 0. Returns when all are done; rethrows the first exception, after which the remaining indices are
  /// skipped. One caller at a time; must not be nested.
  void for_each(std::size_t count, const std::function<void(std::size_t index, int thread)>& body);

 private:
  void stop();
  void work(int thread);
  void run_items(int thread);

  const int process_ = ::getpid();  // a forked process does not inherit the threads
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(std::size_t, int)>* body_ = nullptr;
  std::size_t count_ = 0, next_ = 0;
  std::uint64_t round_ = 0;
  int running_ = 0;
  bool stop_ = false;
  std::exception_ptr error_;
};

}  // namespace gondola
