#include "train/launch.h"

#include <charconv>

#include "base/error.h"

namespace gondola {
namespace {

/// The environment variables of a launcher. `machines`, where there is one, lists the machines, that of rank 0 first.
struct Names {
  const char *rank, *size, *local_rank, *local_size, *machines = nullptr;
  bool tells_local_rank = true;  ///< whether local_rank must be set: other launchers share the first two names
};

// In this order: mpirun (Open MPI's, or MPICH's and Intel's) may have started its helpers by srun, whose variables they
// then have too. A Slurm batch script has SLURM_NTASKS, but only srun's processes have the step's.
constexpr Names launchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", nullptr, false},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST",
     false},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", nullptr, false},
};

/// A variable's value as a number; of a list such as Slurm's "4(x2),3" (the tasks of each machine), the first.
std::optional<int> number(const Launch::Environment& variable, const std::string& name) {
  const auto text = variable(name.c_str());
  if (!text) return std::nullopt;
  const char* const end = text->data() + text->size();
  int value = 0;
  const auto [rest, error] = std::from_chars(text->data(), end, value);
  const bool first_of_several = name == "SLURM_STEP_TASKS_PER_NODE" && rest != end && (*rest == '(' || *rest == ',');
  if (error != std::errc() || value < 0 || (rest != end && !first_of_several))
    fail("{} is \"{}\", expected a number", name, *text);
  return value;
}

/// The first machine of a Slurm list: "gpu[03-05,9],login" begins with gpu03.
std::string first_machine(const std::string& list) {
  const std::size_t end = list.find_first_of("[,");
  if (end == std::string::npos || list[end] == ',') return list.substr(0, end);
  return list.substr(0, end) + list.substr(end + 1, list.find_first_of("-,]", end) - end - 1);
}

}  // namespace

Launch Launch::from(const Environment& variable) {
  Launch launch;
  std::optional<std::string> machines;
  for (const Names& names : launchers) {
    const auto rank = number(variable, names.rank), size = number(variable, names.size);
    if (!rank || !size || (names.tells_local_rank && !variable(names.local_rank))) continue;
    if (names.machines != nullptr) machines = variable(names.machines);
    if (*rank >= *size) fail("{} is {}, but {} is {}", names.rank, *rank, names.size, *size);
    launch.rank = *rank;
    launch.size = *size;
    launch.local_rank = number(variable, names.local_rank);
    launch.local_size = number(variable, names.local_size).value_or(*size);
    break;
  }
  launch.port = number(variable, "MASTER_PORT").value_or(launch.port);
  if (launch.size > 1 && (launch.port < 1 || launch.port > 65535))
    fail("MASTER_PORT is {}, expected a port from 1 to 65535", launch.port);
  if (const auto address = variable("MASTER_ADDR"))
    launch.address = *address;
  else if (machines)
    launch.address = first_machine(*machines);
  else if (launch.local_size < launch.size)
    fail("{} processes on several machines, but MASTER_ADDR is not set: it names the machine of rank 0", launch.size);
  launch.hosts_store = variable("TORCHELASTIC_USE_AGENT_STORE").value_or("") != "True";
  launch.attempt = variable("TORCHELASTIC_RESTART_COUNT").value_or("0");
  return launch;
}

}  // namespace gondola
