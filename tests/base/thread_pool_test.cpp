#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "base/error.h"

namespace gondola {
namespace {

TEST(ThreadPool, CallsEveryIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{1000}}) {
      std::vector<std::atomic<int>> calls(count);
      std::atomic<bool> known_threads = true;
      pool.parallel_for(count, [&](std::size_t index, int thread) {
        ++calls[index];
        if (thread < 0 || thread >= threads) known_threads = false;
      });
      for (const std::atomic<int>& number : calls) EXPECT_EQ(number, 1);
      EXPECT_TRUE(known_threads);
    }
  }
}

TEST(ThreadPool, SaysHowManyThreadsCanBeStarted) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer needs more address space than any limit";
#endif
  const auto with_little_room = [] {
    const rlimit limit = {rlim_t{1} << 30, rlim_t{1} << 30};  // a thread's stack takes 8 MiB of it
    ::setrlimit(RLIMIT_AS, &limit);
    ::alarm(60);
    try {
      ThreadPool pool(1000);
    } catch (const Error& error) {
      std::fputs(error.what(), stderr);
      std::_Exit(3);
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(with_little_room(), testing::ExitedWithCode(3), "only [0-9]+ of 1000 threads");
}

TEST(ThreadPool, RunsManyShortLoops) {
  ThreadPool pool(4);
  std::atomic<int> sum = 0;
  for (int round = 0; round < 5000; ++round) pool.parallel_for(3, [&](std::size_t index, int) { sum += int(index); });
  EXPECT_EQ(sum, 3 * 5000);
}

TEST(ThreadPool, RethrowsAnExceptionAndCanBeUsedAgain) {
  for (int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 100; ++round) {
      EXPECT_THROW(pool.parallel_for(50,
                                     [](std::size_t index, int) {
                                       if (index >= 7) throw std::runtime_error("seven");
                                     }),
                   std::runtime_error);
      std::atomic<int> calls = 0;
      pool.parallel_for(50, [&](std::size_t, int) { ++calls; });
      EXPECT_EQ(calls, 50);
    }
  }
}

TEST(ThreadPool, SkipsWhatIsLeftAfterAnException) {
  ThreadPool pool(1);
  int calls = 0;
  EXPECT_THROW(pool.parallel_for(50,
                                 [&](std::size_t, int) {
                                   ++calls;
                                   throw std::runtime_error("first");
                                 }),
               std::runtime_error);
  EXPECT_EQ(calls, 1);
}

/// A forked process has a copy of the pool and none of its threads.
TEST(ThreadPoolDeathTest, CanBeDestroyedInAForkedProcess) {
  const auto destroy_in_child = [] {
    auto pool = std::make_unique<ThreadPool>(3);
    if (const pid_t child = ::fork(); child != 0) {
      int status = 0;
      ::waitpid(child, &status, 0);
      std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    ::alarm(20);
    try {
      pool->parallel_for(2, [](std::size_t, int) {});
    } catch (const Error&) {
      pool.reset();
      std::_Exit(4);
    }
    std::_Exit(2);
  };
  EXPECT_EXIT(destroy_in_child(), testing::ExitedWithCode(4), "");
}

TEST(ThreadPool, HasOneThreadPerAvailableProcessor) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_EQ(ThreadPool().threads(), available_processors());
  cpu_set_t all, first;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  CPU_ZERO(&first);
  for (int processor = 0; CPU_COUNT(&first) == 0; ++processor)
    if (CPU_ISSET(processor, &all)) CPU_SET(processor, &first);
  ASSERT_EQ(::sched_setaffinity(0, sizeof first, &first), 0);  // as taskset does
  EXPECT_EQ(available_processors(), 1);
  ASSERT_EQ(::sched_setaffinity(0, sizeof all, &all), 0);
}

}  // namespace
}  // namespace gondola
