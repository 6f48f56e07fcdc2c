#pragma once

#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace c10d {
class Store;
}

namespace gondola {

/// Finds ranks that died or are stuck. A thread of each rank says in the store, every round, that it lives, and whether
/// its process has worked (used processor time) or waited for others since; rank r watches rank r − 1, so that the load
/// on the store grows with the number of ranks alone. What one finds or reports, all learn from the store.
class Watch {
 public:
  /// `on_failure` is called once, on the watching thread, with a message that names the rank.
  /// `serves_store`: this process serves it to the others, and so leaves last. `round` is all ranks'.
  Watch(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool serves_store,
        std::function<void(const std::string&)> on_failure, std::chrono::milliseconds round = std::chrono::seconds(1));
  ~Watch();

  /// In its lifetime this rank waits, for others or for a disk or a server, and is not stuck. `watch` may be null.
  class Waiting {
   public:
    explicit Waiting(Watch* watch) : watch_(watch) {
      if (watch_) ++watch_->waiting_;
    }
    ~Waiting() {
      if (watch_) --watch_->waiting_;
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    Watch* watch_;
  };

  /// Waits until it is known which rank failed, or until this one is interrupted: then, or when none did, "".
  std::string verdict();

  /// This rank ends with an error.
  void report(const std::string& message);

 private:
  void talk();
  void guard();
  void beat();
  std::string look();
  void fail_with(const std::string& message);
  bool stopped_within(std::chrono::milliseconds time);
  void stop();
  std::string time_of(int rounds) const;

  const c10::intrusive_ptr<c10d::Store> store_;
  const int rank_, size_;
  const bool serves_store_;
  const std::function<void(const std::string&)> on_failure_;
  const std::chrono::milliseconds round_;
  std::atomic<int> waiting_ = 0;
  std::atomic<std::int64_t> talks_ = 0;

  /// What the talking thread knows of this process and of the one it watches.
  struct Signs {
    std::int64_t beats = 0, life = 0;
  };
  Signs own_, watched_;
  /// Rounds since these of the watched process last grew. They are counted rather than timed: a process that was
  /// suspended counts none, and does not take itself for deserted when it wakes.
  int without_beat_ = 0, without_life_ = 0;
  double processor_seconds_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::string verdict_;
  std::thread talking_, guarding_;
};

}  // namespace gondola
