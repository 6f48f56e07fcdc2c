#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/file_lock.h"
#include "base/json.h"
#include "checkpoint/tensor.h"
#include "train/recipe.h"
#include "train/report.h"

namespace gondola {

/// What resuming needs: all tensors (model, norms, optimiser) and the number of steps done.
struct TrainingState {
  std::int64_t steps = 0;
  TensorMap tensors;
};

/// The folder of one training run: `recipe.json`, `checkpoints/step-N.safetensors`, `vocabulary/`, `metrics.jsonl`,
/// `tensorboard/`, `report.html`, with --trace `trace.json`, at the end `model/`, and `.lock`, held while in use.
class RunFolder {
 public:
  /// On rank 0 (`writable`), creates the folder and locks it for the object's lifetime. Throws Error when another
  /// process holds the lock, and when a finished run lacks its checkpoints. Without `resume`, throws when the folder
  /// holds anything but a run that never saved a checkpoint; with it, for checkpoints of another recipe, and for a
  /// run's files without a recipe.json. The other ranks open what rank 0 made; their functions that write do nothing.
  RunFolder(std::filesystem::path path, const Recipe& recipe, bool resume, bool writable = true);

  std::filesystem::path trace() const { return path_ / "trace.json"; }
  std::filesystem::path model() const { return path_ / "model"; }
  std::filesystem::path vocabulary() const { return path_ / "vocabulary"; }
  std::filesystem::path events() const { return path_ / "tensorboard"; }

  bool has_checkpoint() const;

  /// Reads the newest complete checkpoint, cuts metrics.jsonl back to it (or empties it when there is none), and
  /// removes what a killed process left half-written.
  std::optional<TrainingState> restore();

  /// Writes a checkpoint atomically and keeps the newest two.
  void save(const TrainingState& state);

  /// Appends one line to metrics.jsonl.
  void log(const nlohmann::ordered_json& line);

  /// The validation sets whose figures after this step are in metrics.jsonl.
  std::set<std::string> validated(std::int64_t step) const;

  /// Writes report.html, with the curves of metrics.jsonl (train/report.h).
  void write_report(const Named<std::string>& summary, const Recipe& recipe) const;

 private:
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }

  std::filesystem::path path_;
  bool writable_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace gondola
