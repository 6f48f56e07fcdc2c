#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace gondola {
namespace {

TEST(ThreadPool, CallsEveryIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{1000}}) {
      std::vector<std::atomic<int>> calls(count);
      std::atomic<bool> known_threads = true;
      pool.for_each(count, [&](std::size_t index, int thread) {
        ++calls[index];
        if (thread < 0 || thread >= threads) known_threads = false;
      });
      for (const std::atomic<int>& number : calls) EXPECT_EQ(number, 1);
      EXPECT_TRUE(known_threads);
    }
  }
}

TEST(ThreadPool, RunsManyShortLoops) {
  ThreadPool pool(4);
  std::atomic<int> sum = 0;
  for (int round = 0; round < 5000; ++round) pool.for_each(3, [&](std::size_t index, int) { sum += int(index); });
  EXPECT_EQ(sum, 3 * 5000);
}

TEST(ThreadPool, RethrowsAnExceptionAndCanBeUsedAgain) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 100; ++round) {
      EXPECT_THROW(pool.for_each(50,
                                 [](std::size_t index, int) {
                                   if (index >= 7) throw std::runtime_error("seven");
                                 }),
                   std::runtime_error);
      std::atomic<int> calls = 0;
      pool.for_each(50, [&](std::size_t, int) { ++calls; });
      EXPECT_EQ(calls, 50);
    }
  }
}

TEST(ThreadPool, HasTheProcessorsThatItMayUse) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_EQ(ThreadPool().threads(), available_processors());
}

}  // namespace
}  // namespace gondola
