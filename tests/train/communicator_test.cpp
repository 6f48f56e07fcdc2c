#include "train/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

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
    EXPECT_TRUE(at::equal(communicator.pass_around(own), of_rank((rank + size - 1) % size)));

    auto first = own.clone();
    communicator.broadcast(first);
    EXPECT_TRUE(at::equal(first, of_rank(0)));
    EXPECT_TRUE(communicator.any(rank == size - 1));
    EXPECT_FALSE(communicator.any(false));
    communicator.barrier();
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, Ranks, testing::Values(1, 2, 4), testing::PrintToStringParamName());

Launch launch_of(const std::map<std::string, std::string>& environment) {
  return Launch::from([&](const char* name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  });
}

TEST(Launch, IsReadFromEachLauncher) {
  const Launch alone = launch_of({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}});  // a batch script, not srun
  EXPECT_EQ(alone.size, 1);
  const Launch torchrun = launch_of({{"RANK", "3"},
                                     {"WORLD_SIZE", "8"},
                                     {"LOCAL_RANK", "1"},
                                     {"LOCAL_WORLD_SIZE", "2"},
                                     {"MASTER_ADDR", "gpu-1"},
                                     {"MASTER_PORT", "1234"},
                                     {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                     {"TORCHELASTIC_RESTART_COUNT", "2"}});
  EXPECT_EQ(torchrun.rank, 3);
  EXPECT_EQ(torchrun.size, 8);
  EXPECT_EQ(torchrun.local_rank, 1);
  EXPECT_EQ(torchrun.local_size, 2);
  EXPECT_EQ(torchrun.address, "gpu-1");
  EXPECT_EQ(torchrun.port, 1234);
  EXPECT_FALSE(torchrun.hosts_store);
  EXPECT_EQ(torchrun.attempt, "2");
  const Launch srun = launch_of({{"SLURM_PROCID", "5"},
                                 {"SLURM_STEP_NUM_TASKS", "6"},
                                 {"SLURM_LOCALID", "1"},
                                 {"SLURM_STEP_TASKS_PER_NODE", "2(x3)"},
                                 {"SLURM_STEP_NODELIST", "gpu[03-05],login"}});
  EXPECT_EQ(srun.rank, 5);
  EXPECT_EQ(srun.size, 6);
  EXPECT_EQ(srun.local_size, 2);
  EXPECT_EQ(srun.address, "gpu03");
  EXPECT_TRUE(srun.hosts_store);
  const Launch mpirun = launch_of({{"OMPI_COMM_WORLD_RANK", "1"},
                                   {"OMPI_COMM_WORLD_SIZE", "2"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(mpirun.rank, 1);
  EXPECT_EQ(mpirun.address, "127.0.0.1");
  EXPECT_EQ(launch_of({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}).rank, 1);
  EXPECT_THROW(launch_of({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), Error);
  EXPECT_THROW(launch_of({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), Error);
  EXPECT_THROW(launch_of({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MPI_LOCALNRANKS", "2"}}), Error);
}

}  // namespace
}  // namespace gondola
