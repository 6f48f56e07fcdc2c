#include "train/rank_watch.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <unistd.h>

#include <ctime>
#include <sstream>
#include <system_error>

#include "base/environment.h"
#include "base/error.h"
#include "base/interrupt.h"

namespace gondola {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr seconds leave_timeout{10};
constexpr int dead_after = 15, stuck_after = 40;  // rounds
constexpr double working = 0.01;                  // of a processor
constexpr const char *failure_key = "failure", *leaving_key = "leaving";

std::string key_of(int rank) {
  return fmt::format("signs/{}", rank);
}

double seconds_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

RankWatch::RankWatch(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool serves_store,
                     std::function<void(const std::string&)> on_failure, std::chrono::milliseconds round)
    : store_(std::move(store)),
      rank_(rank),
      size_(size),
      serves_store_(serves_store),
      on_failure_(std::move(on_failure)),
      round_(round) {
  try {
    talking_ = std::thread([this] { talk(); });
    guarding_ = std::thread([this] { guard(); });
  } catch (const std::system_error& error) {
    stop();
    fail("cannot start a thread to watch the other ranks: {}", error.what());
  } catch (...) {  // out of memory
    stop();
    throw;
  }
}

RankWatch::~RankWatch() {
  stop();
  try {
    store_->set(key_of(rank_), std::string("left"));
    store_->add(leaving_key, 1);
    const auto end = Clock::now() + leave_timeout;
    while (serves_store_ && Clock::now() < end && store_->add(leaving_key, 0) < size_)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  } catch (const std::exception&) {  // whoever served the store has left
  }
}

void RankWatch::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread* thread : {&talking_, &guarding_})
    if (thread->joinable()) thread->join();
}

bool RankWatch::stopped_within(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [&] { return stop_; });
}

std::string RankWatch::time_of(int rounds) const {
  return fmt::format("{:g} s", std::chrono::duration<double>(rounds * round_).count());
}

void RankWatch::talk() {
  do {
    try {
      beat();
      if (const std::string message = look(); !message.empty()) return fail_with(message);
    } catch (const std::exception&) {
      return fail_with("rank 0 or the launcher, which served the store of all ranks, is gone");
    }
    ++talks_;
  } while (!stopped_within(round_));
}

/// Fails when the store stops answering: waiting for its answers has no timeout.
void RankWatch::guard() {
  std::int64_t before = 0;
  for (int silent = 0; !stopped_within(round_);) {
    const std::int64_t talks = talks_;
    silent = talks == before ? silent + 1 : 0;
    before = talks;
    if (silent > dead_after)
      return fail_with(fmt::format(
          "rank 0 or the launcher, which serves the store of all ranks, has not answered for {}", time_of(dead_after)));
  }
}

void RankWatch::beat() {
  const double used = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - seconds_of(CLOCK_THREAD_CPUTIME_ID);
  if (waiting_ > 0 || used - processor_seconds_ > working * std::chrono::duration<double>(round_).count()) ++own_.life;
  processor_seconds_ = used;
  ++own_.beats;
  store_->set(key_of(rank_), fmt::format("{} {} process {} on {}", own_.beats, own_.life, ::getpid(), host_name()));
}

/// Returns a failure that some rank found or reported, or that of the watched rank; "" if there is none.
std::string RankWatch::look() {
  if (store_->check({failure_key})) return store_->get_to_str(failure_key);
  const int watched = (rank_ + size_ - 1) % size_;
  Signs signs;
  std::string who;
  if (store_->check({key_of(watched)})) {
    std::istringstream text(store_->get_to_str(key_of(watched)));
    if (!(text >> signs.beats >> signs.life)) return "";  // it has left
    std::getline(text >> std::ws, who);
    who = " (" + who + ")";
  }
  without_beat_ = signs.beats == watched_.beats ? without_beat_ + 1 : 0;
  without_life_ = signs.life == watched_.life ? without_life_ + 1 : 0;
  watched_ = signs;
  std::string message;
  if (without_beat_ > dead_after)
    message = fmt::format("rank {} of {}{} has given no sign of life for {}", watched, size_, who, time_of(dead_after));
  else if (without_life_ > stuck_after)
    message = fmt::format("rank {} of {}{} is stuck: for {} it has neither worked nor waited for others", watched,
                          size_, who, time_of(stuck_after));
  if (!message.empty()) store_->compareSet(failure_key, std::string(), message);
  return message;
}

void RankWatch::fail_with(const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_ || !verdict_.empty()) return;
    verdict_ = message;
  }
  changed_.notify_all();
  if (serves_store_) std::this_thread::sleep_for(2 * round_);  // so that the others can read it there
  on_failure_(message);
}

std::string RankWatch::verdict() {
  std::unique_lock lock(mutex_);
  const auto end = Clock::now() + stuck_after * round_ + seconds(5);
  while (verdict_.empty() && Clock::now() < end && !interrupted())
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  return verdict_;
}

void RankWatch::report(const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_ || !verdict_.empty()) return;
    stop_ = true;  // the others' reactions to this are not news
  }
  try {
    store_->compareSet(failure_key, std::string(), fmt::format("rank {} of {}: {}", rank_, size_, message));
  } catch (const std::exception&) {  // nobody is there to read it
  }
}

}  // namespace gondola
