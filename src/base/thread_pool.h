#pragma once

#include <unistd.h>

#include <cstddef>
#include <functional>
#include <memory>

namespace gondola {

/// How many processors this process can keep busy: those that it may run on, but at most cpu_quota() rounded up.
int available_processors();

/// A fixed set of threads that share one loop at a time. The calling thread is one of them, so a pool of 1 has none of
/// its own and runs everything in place.
class ThreadPool {
 public:
  /// `threads` = 0 means available_processors(). Throws Error if the system does not allow so many threads.
  explicit ThreadPool(int threads = 0);
  /// In a forked process, which has none of the threads, this leaves their memory alone.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  /// Calls body(index, thread) once for every index in [0, count), in any order, from threads numbered [0, threads()),
  /// the caller being 0. Returns when all are done; rethrows the first exception, after which the remaining indices are
  /// skipped. One caller at a time; must not be nested.
  void parallel_for(std::size_t count, const std::function<void(std::size_t index, int thread)>& body);

 private:
  struct Workers;

  const int process_ = ::getpid();  // a forked process does not inherit the threads
  int threads_;
  std::unique_ptr<Workers> workers_;  ///< null in a pool of 1
};

}  // namespace gondola
