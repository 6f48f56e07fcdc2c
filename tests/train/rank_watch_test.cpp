// What ranks learn about each other. Each rank is a thread of this process; rounds are short, but long enough that the
// threads of both, whose work counts as a sign of life, take less than a hundredth of one.
#include "train/rank_watch.h"

#include <gmock/gmock.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include <future>
#include <latch>

namespace gondola {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

/// One of two ranks.
class Watcher {
 public:
  Watcher(const c10::intrusive_ptr<c10d::Store>& store, int rank, bool serves_store)
      : watch(
            store, rank, 2, serves_store, [this](const std::string& message) { failure_.set_value(message); }, 100ms) {}

  /// The reported failure; "" if there is none within a minute.
  std::string failure() {
    auto found = failure_.get_future();
    return found.wait_for(60s) == std::future_status::ready ? found.get() : "";
  }

 private:
  std::promise<std::string> failure_;

 public:
  RankWatch watch;
};

TEST(RankWatch, NamesARankThatIsStuck) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  Watcher first(store, 0, /*serves_store=*/true), second(store, 1, false);
  const RankWatch::Waiting waiting(&first.watch);
  const std::string found = first.failure();
  EXPECT_THAT(found, AllOf(StartsWith("rank 1 of 2 (process "), HasSubstr("is stuck: for 4 s")));
  EXPECT_EQ(second.failure(), found);
  EXPECT_EQ(second.watch.verdict(), found);
}

TEST(RankWatch, NamesARankThatIsGone) {
  Watcher second(c10::make_intrusive<c10d::HashStore>(), 1, false);
  EXPECT_THAT(second.failure(), EndsWith("rank 0 of 2 has given no sign of life for 1.5 s"));
}

TEST(RankWatch, TellsTheOthersWhyARankEnds) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  Watcher first(store, 0, true), second(store, 1, false);
  second.watch.report("its disk is full");
  EXPECT_EQ(first.failure(), "rank 1 of 2: its disk is full");
}

/// A store that does not answer before it may.
class SilentStore : public c10d::HashStore {
 public:
  std::latch may_answer{1};

  void set(const std::string& key, const std::vector<std::uint8_t>& value) override {
    may_answer.wait();
    c10d::HashStore::set(key, value);
  }
};

TEST(RankWatch, DoesNotWaitForAStoreForever) {
  const auto store = c10::make_intrusive<SilentStore>();
  Watcher second(store, 1, false);
  EXPECT_THAT(second.failure(), HasSubstr("which serves the store of all ranks, has not answered for 1.5 s"));
  store->may_answer.count_down();  // so that it can end
}

}  // namespace
}  // namespace gondola
