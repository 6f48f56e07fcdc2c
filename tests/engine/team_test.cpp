#include "engine/team.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/thread_pool.h"

namespace gondola {
namespace {

TEST(Barrier, HoldsEveryThreadUntilAllHaveArrived) {
  constexpr std::size_t threads = 3, rounds = 200;
  ThreadPool pool(threads);
  Barrier barrier(threads);
  std::atomic<std::size_t> arrived = 0;
  pool.parallel_for(threads, [&](std::size_t, int) {
    for (std::size_t round = 1; round <= rounds; ++round) {
      ++arrived;
      barrier.wait();
      EXPECT_GE(arrived, round * threads);
      barrier.wait();
    }
  });
}

TEST(Barrier, ThrowsTheErrorOfTheThreadThatFailed) {
  ThreadPool pool(3);
  Barrier barrier(3);
  std::atomic<int> told = 0;
  const auto body = [&](std::size_t rank, int) {
    try {
      if (rank == 1) throw Error("out of room");
      barrier.wait();
    } catch (const Error& error) {
      told += error.what() == std::string("out of room") ? 1 : 0;
      barrier.fail(std::current_exception());
    }
  };
  pool.parallel_for(3, body);
  EXPECT_EQ(told, 3);
}

}  // namespace
}  // namespace gondola
