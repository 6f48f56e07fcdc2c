#include "train/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <vector>

#include "tests/train/ranks.h"

namespace gondola {
namespace {

class Ranks : public testing::TestWithParam<int> {};

TEST_P(Ranks, ExchangeTensors) {
  const int size = GetParam();
  test::on_ranks(size, [size](Communicator& communicator) {
    const int rank = communicator.rank();
    EXPECT_EQ(communicator.size(), size);
    const auto own = at::arange(6, at::kFloat).view({2, 3}) + 10 * rank;
    const auto of_rank = [&](int other) { return at::arange(6, at::kFloat).view({2, 3}) + 10 * other; };

    auto sum = own.clone();
    communicator.all_reduce(sum);
    EXPECT_TRUE(at::equal(sum, size * at::arange(6, at::kFloat).view({2, 3}) + 5 * size * (size - 1)));
    auto transposed = own.t().clone().t();  // not contiguous
    communicator.all_reduce(transposed);
    EXPECT_TRUE(at::equal(transposed, sum));

    std::vector<at::Tensor> all;
    for (int other = 0; other < size; ++other) all.push_back(of_rank(other));
    EXPECT_TRUE(at::equal(communicator.all_gather(own), at::cat(all)));
    EXPECT_TRUE(at::equal(communicator.pass_around(own), of_rank((rank + size - 1) % size)));

    auto first = own.clone();
    communicator.broadcast(first);
    EXPECT_TRUE(at::equal(first, of_rank(0)));
    EXPECT_TRUE(communicator.any(rank == size - 1));
    EXPECT_FALSE(communicator.any(false));
    communicator.barrier();
    EXPECT_EQ(communicator.waiting_for_files() == nullptr, size == 1);
  });
}

/// As srun and mpirun bind them.
TEST(RanksOnTheseProcessors, AreNotThoseBoundToOthers) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "this machine lacks a second processor";
  std::vector<int> processors;
  for (int i = 0; processors.size() < 2; ++i)
    if (CPU_ISSET(i, &all)) processors.push_back(i);
  test::on_ranks(3, [&](Communicator& communicator) {
    EXPECT_EQ(communicator.ranks_on_these_processors(), 3);
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(processors[communicator.rank() == 0 ? 0 : 1], &own);
    ASSERT_EQ(::sched_setaffinity(0, sizeof own, &own), 0);
    EXPECT_EQ(communicator.ranks_on_these_processors(), communicator.rank() == 0 ? 1 : 2);
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Ranks, testing::Values(1, 2, 4), testing::PrintToStringParamName());

}  // namespace
}  // namespace gondola
