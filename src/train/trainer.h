#pragma once

#include <filesystem>
#include <memory>

#include "train/events.h"
#include "train/loader.h"
#include "train/objective.h"
#include "train/optimiser.h"
#include "train/run_folder.h"
#include "train/run_view.h"
#include "train/spike_guard.h"
#include "train/weight_average.h"

namespace gondola {

/// One run of one process: reads the data, steps until the recipe's end, validates, checkpoints, exports.
class Trainer {
 public:
  Trainer(Recipe recipe, const std::filesystem::path& out, bool resume);

  /// Trains to the end, or to the next interrupt, whichever is first; both leave a checkpoint, and the end RUN/model/.
  /// Returns whether the end was reached.
  bool run();

  /// One optimiser step on a batch, or none when the guard skips it.
  struct StepResult {
    double loss, gradient_norm;
  };
  StepResult step(const Batch& batch, double learning_rate);

 private:
  void save(std::int64_t steps);
  void restore(const TrainingState& state);
  void run_validation(std::int64_t steps, EventWriter& events, RunView& view);
  void write_report(std::int64_t steps) const;
  void write_model();

  Recipe recipe_;
  RunFolder folder_;
  std::unique_ptr<Dataset> data_;
  std::vector<std::unique_ptr<Dataset>> validation_;
  std::unique_ptr<ClipTokenizer> tokenizer_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<AdamW> optimiser_;
  std::unique_ptr<WeightAverage> average_;  ///< null without ema_decay
  SpikeGuard guard_;
  std::int64_t updates_ = 0;  ///< steps that were not skipped
};

}  // namespace gondola
