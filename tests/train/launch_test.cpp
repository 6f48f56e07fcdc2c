#include "train/launch.h"

#include <gmock/gmock.h>

#include <map>

#include "base/error.h"

namespace gondola {
namespace {

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
  const Launch by_hand = launch_of({{"RANK", "9"}, {"WORLD_SIZE", "16"}, {"MASTER_ADDR", "gpu-1"}});
  EXPECT_EQ(by_hand.rank, 9);
  EXPECT_EQ(by_hand.local_rank, std::nullopt) << "which decides the GPU";
  const Launch srun = launch_of({{"SLURM_PROCID", "5"},
                                 {"SLURM_STEP_NUM_TASKS", "6"},
                                 {"SLURM_LOCALID", "1"},
                                 {"SLURM_STEP_TASKS_PER_NODE", "2(x3)"},
                                 {"SLURM_STEP_NODELIST", "gpu[03-05],login"}});
  EXPECT_EQ(srun.rank, 5);
  EXPECT_EQ(srun.size, 6);
  EXPECT_EQ(srun.local_rank, 1);
  EXPECT_EQ(srun.local_size, 2);
  EXPECT_EQ(srun.address, "gpu03");
  EXPECT_TRUE(srun.hosts_store);
  const Launch mpirun = launch_of({{"OMPI_COMM_WORLD_RANK", "1"},
                                   {"OMPI_COMM_WORLD_SIZE", "2"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(mpirun.rank, 1);
  EXPECT_EQ(mpirun.address, "127.0.0.1");
  const Launch by_srun = launch_of({{"OMPI_COMM_WORLD_RANK", "3"},
                                    {"OMPI_COMM_WORLD_SIZE", "4"},
                                    {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                    {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                    {"SLURM_PROCID", "0"},  // of mpirun's helper there
                                    {"SLURM_STEP_NUM_TASKS", "1"},
                                    {"MASTER_ADDR", "gpu-1"}});
  EXPECT_EQ(by_srun.rank, 3);
  EXPECT_EQ(by_srun.size, 4);
  const Launch hydra = launch_of({{"PMI_RANK", "5"},
                                  {"PMI_SIZE", "8"},
                                  {"MPI_LOCALRANKID", "1"},
                                  {"MPI_LOCALNRANKS", "8"},
                                  {"SLURM_PROCID", "1"},
                                  {"SLURM_STEP_NUM_TASKS", "2"},
                                  {"SLURM_STEP_NODELIST", "node2"}});
  EXPECT_EQ(hydra.rank, 5);
  EXPECT_EQ(hydra.local_rank, 1);
  EXPECT_EQ(hydra.address, "127.0.0.1");
  EXPECT_EQ(launch_of({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}).rank, 1);
  EXPECT_EQ(launch_of({{"MASTER_PORT", "65535"}}).port, 65535);
}

TEST(Launch, NamesTheVariableThatMakesNoSense) {
  const auto refuses = [](const std::map<std::string, std::string>& environment, const char* message) {
    EXPECT_THAT([&] { launch_of(environment); }, testing::ThrowsMessage<Error>(testing::HasSubstr(message)));
  };
  refuses({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "RANK is 2, but WORLD_SIZE is 2");
  refuses({{"RANK", "x"}, {"WORLD_SIZE", "2"}}, "RANK is \"x\", expected a number");
  refuses({{"RANK", "1abc"}, {"WORLD_SIZE", "2"}}, "RANK is \"1abc\", expected a number");
  refuses({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}, "RANK is \"-1\", expected a number");
  refuses({{"RANK", "1"}, {"WORLD_SIZE", "2(x3)"}}, "WORLD_SIZE is \"2(x3)\", expected a number");
  refuses({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MPI_LOCALNRANKS", "2"}}, "MASTER_ADDR is not set");
  for (const char* port : {"0", "65536", "29500x"})
    refuses({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", port}}, "MASTER_PORT is ");
  EXPECT_EQ(launch_of({{"MASTER_PORT", "0"}}).size, 1) << "which nobody calls";
  refuses({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_STEP_TASKS_PER_NODE", "2junk"}},
          "SLURM_STEP_TASKS_PER_NODE is \"2junk\"");
}

}  // namespace
}  // namespace gondola
