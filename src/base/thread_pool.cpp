#include "base/thread_pool.h"

#include <sched.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpu_quota.h"
#include "base/error.h"

namespace gondola {

int available_processors() {
  cpu_set_t set;
  const bool is_known = ::sched_getaffinity(0, sizeof set, &set) == 0;
  return granted_processors(is_known ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency()));
}

struct ThreadPool::Workers {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable start, done;
  const std::function<void(std::size_t, int)>* body = nullptr;
  std::size_t count = 0, next = 0;
  std::uint64_t round = 0;
  std::size_t running = 0;
  bool stop = false;
  std::exception_ptr error;

  ~Workers() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    start.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void work(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        start.wait(lock, [&] { return stop || round != seen; });
        if (stop) return;
        seen = round;
      }
      run_items(thread);
      const std::lock_guard lock(mutex);
      if (--running == 0) done.notify_one();
    }
  }

  void run_items(int thread) {
    for (;;) {
      std::size_t index;
      {
        const std::lock_guard lock(mutex);
        if (next == count) return;
        index = next++;
      }
      try {
        (*body)(index, thread);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        next = count;
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads == 0 ? available_processors() : threads) {
  if (threads_ == 1) return;
  workers_ = std::make_unique<Workers>();
  try {
    for (int thread = 1; thread < threads_; ++thread)
      workers_->threads.emplace_back([workers = workers_.get(), thread] { workers->work(thread); });
  } catch (const std::system_error&) {
    fail("only {} of {} threads can be started; ask for fewer", workers_->threads.size() + 1, threads_);
  }
}

ThreadPool::~ThreadPool() {
  if (::getpid() != process_) static_cast<void>(workers_.release());  // the threads to join are the parent's
}

void ThreadPool::parallel_for(std::size_t count, const std::function<void(std::size_t, int)>& body) {
  if (count == 0) return;
  if (!workers_ || count == 1) {
    for (std::size_t index = 0; index < count; ++index) body(index, 0);
    return;
  }
  if (::getpid() != process_)
    fail("this process was forked, which does not copy threads: it must load a model of its own");
  {
    const std::lock_guard lock(workers_->mutex);
    workers_->body = &body;
    workers_->count = count;
    workers_->next = 0;
    workers_->error = nullptr;
    workers_->running = workers_->threads.size();
    ++workers_->round;
  }
  workers_->start.notify_all();
  workers_->run_items(0);
  std::unique_lock lock(workers_->mutex);
  workers_->done.wait(lock, [this] { return workers_->running == 0; });
  if (workers_->error) std::rethrow_exception(workers_->error);
}

}  // namespace gondola
