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

/// Finds ranks that have died or are stuck. Every round, a thread of each rank tells the store that it is alive, and
/// whether its process has since worked (used processor time) or waited for others. Rank r watches rank r − 1, so that
/// the load on the store grows only linearly with the ranks. What one rank finds or reports, all learn from the store.
class RankWatch {
 public:
  /// `on_failure` is called once, on a watching thread, with a message that names the rank or the store.
  /// `serves_store`: this process serves it to the others, and so leaves last. `round` must be the same on all ranks.
  RankWatch(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool serves_store,
            std::function<void(const std::string&)> on_failure,
            std::chrono::milliseconds round = std::chrono::seconds(1));
  ~RankWatch();

  /// While it lives, this rank waits for others, a disk or a server, and does not count as stuck. `watch` may be null.
  class Waiting {
   public:
    explicit Waiting(RankWatch* watch) : watch_(watch) {
      if (watch_) ++watch_->waiting_;
    }
    ~Waiting() {
      if (watch_) --watch_->waiting_;
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    RankWatch* watch_;
  };

  /// Waits until it is known which rank failed and returns the message; "" if interrupted or if none did.
  std::string verdict();

  /// Tells the other ranks that this one ends with an error.
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
  /// Rounds since each of the watched process's signs last grew. Rounds are counted, not timed: a suspended process
  /// counts none, and so does not think itself deserted when it wakes.
  int without_beat_ = 0, without_life_ = 0;
  double processor_seconds_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::string verdict_;
  std::thread talking_, guarding_;
};

}  // namespace gondola
