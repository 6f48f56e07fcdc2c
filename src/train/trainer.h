#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "train/loader.h"
#include "train/objective.h"
#include "train/optimiser.h"
#include "train/run_folder.h"
#include "train/run_view.h"
#include "train/spike_guard.h"
#include "train/tensorboard.h"
#include "train/weight_average.h"

namespace gondola {

/// One run, by one process or several: reads the data, steps until the recipe's end, validates, checkpoints, exports.
/// All ranks step alike; only rank 0 validates, shows progress and writes, in a folder that all can read.
class Trainer {
 public:
  /// `recipe.device` must exist and `recipe.threads` be at least 1. The first `traced_steps` steps are recorded in the
  /// run's trace.json. `communicator` must outlive the trainer.
  Trainer(Recipe recipe, const std::filesystem::path& out, bool resume, Communicator& communicator,
          std::int64_t traced_steps = 0);

  /// Trains to the end or the next interrupt, whichever comes first. Both leave a checkpoint; the end also leaves
  /// RUN/model/. Returns whether the end was reached.
  bool run();

  /// One optimiser step on a batch, or none when the guard skips it.
  struct StepResult {
    double loss, gradient_norm;
  };
  StepResult step(const Batch& batch, double learning_rate);

 private:
  /// Where rank 0 shows progress.
  struct Outputs {
    Outputs(const RunFolder& folder, std::int64_t first_step, std::int64_t last_step)
        : events(folder.events(), first_step), view(first_step, last_step) {}
    EventWriter events;
    RunView view;
  };
  void show(const StepMetrics& metrics);
  void message(const std::string& line);
  /// None when interrupted, or when loading failed: failure_ then says why.
  std::optional<Batch> next_batch(Loader& loader);
  void save(std::int64_t steps);  ///< does nothing if just saved
  std::int64_t restore();
  /// False if interrupted. `again`: skips the sets that were validated before the run was resumed.
  bool run_validation(std::int64_t steps, bool again);
  void write_report(std::int64_t steps) const;
  void write_model();

  Communicator& communicator_;
  Recipe recipe_;
  std::unique_ptr<Dataset> data_;
  std::vector<std::unique_ptr<Dataset>> validation_;
  RunFolder folder_;
  std::int64_t traced_steps_;
  std::shared_ptr<Trace> trace_;  ///< null when no step is traced
  std::optional<Outputs> outputs_;
  std::unique_ptr<ClipTokenizer> tokenizer_;
  std::unique_ptr<Teacher> teacher_;  ///< null without one
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Optimiser> optimiser_;
  std::unique_ptr<WeightAverage> average_;  ///< null without ema_decay
  SpikeGuard guard_;
  std::exception_ptr failure_;  ///< why there is no next batch
  std::int64_t saved_ = 0;      ///< steps of the newest checkpoint
  std::int64_t updates_ = 0;    ///< steps that were not skipped
};

}  // namespace gondola
