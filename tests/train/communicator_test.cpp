#include "train/communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <sched.h>

#include <vector>

#include "base/error.h"
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
    EXPECT_TRUE(at::equal(communicator.ring_shift(own), of_rank((rank + size - 1) % size)));

    auto first = own.clone();
    communicator.broadcast(first);
    EXPECT_TRUE(at::equal(first, of_rank(0)));
    EXPECT_TRUE(communicator.any(rank == size - 1));
    EXPECT_FALSE(communicator.any(false));
    communicator.barrier();
    EXPECT_EQ(communicator.waiting_for_io() == nullptr, size == 1);
  });
}

/// Binds ranks to processors as srun and mpirun do.
TEST(OwnProcessors, AreSharedWithThoseWhoMayUseTheSame) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "this machine lacks a second processor";
  std::vector<int> processors;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &all)) processors.push_back(i);
  test::on_ranks(3, [&](Communicator& communicator) {
    EXPECT_EQ(communicator.own_processors(), std::max(1, CPU_COUNT(&all) / 3));
    cpu_set_t own;
    CPU_ZERO(&own);
    for (std::size_t i = 0; i < processors.size(); ++i)
      if (static_cast<int>(i % 2) == communicator.rank() % 2) CPU_SET(processors[i], &own);
    ASSERT_EQ(::sched_setaffinity(0, sizeof own, &own), 0);
    EXPECT_EQ(communicator.own_processors(), std::max(1, CPU_COUNT(&own) / (communicator.rank() == 1 ? 1 : 2)));
  });
}

TEST(RequireSame, NamesWhatDiffers) {
  test::on_ranks(3, [](Communicator& communicator) {
    EXPECT_NO_THROW(communicator.require_same("words", "a = 1\nb = 2\n"));
    const bool odd = communicator.rank() == 1;
    EXPECT_THAT([&] { communicator.require_same("words", odd ? "a = 1\nb = 3\nlong = 4\n" : "a = 1\nb = 2\n"); },
                testing::ThrowsMessage<Error>(
                    testing::HasSubstr(odd ? "the words of the ranks differ: here b = 3, long = 4, on rank 0 b = 2"
                                           : "the words of the ranks differ: here b = 2, on rank 1 b = 3, long = 4")));
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Ranks, testing::Values(1, 2, 4), testing::PrintToStringParamName());

}  // namespace
}  // namespace gondola
