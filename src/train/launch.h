#pragma once

#include <functional>
#include <optional>
#include <string>

namespace gondola {

/// Where this process stands among those that a launcher started.
struct Launch {
  int rank = 0, size = 1;
  std::optional<int> local_rank;      ///< among the processes of this machine; none if the launcher does not tell
  int local_size = 1;                 ///< processes of this machine, or all if the launcher does not tell
  std::string address = "127.0.0.1";  ///< of the machine of rank 0
  int port = 29500;                   ///< of the store on that machine, through which ranks meet
  bool hosts_store = true;            ///< whether rank 0 serves the store; else the launcher does
  std::string attempt = "0";          ///< torchrun's count of restarts

  /// Reads the variables of torchrun (RANK, WORLD_SIZE, …), srun (SLURM_PROCID, …) or mpirun (OMPI_COMM_WORLD_RANK, …;
  /// PMI_RANK, …), the first that are set; MASTER_ADDR and MASTER_PORT apply to all. None: a single process. `variable`
  /// returns an environment variable's value. Throws Error that names a variable that makes no sense.
  using Environment = std::function<std::optional<std::string>(const char* name)>;
  static Launch from(const Environment& variable);
};

}  // namespace gondola
