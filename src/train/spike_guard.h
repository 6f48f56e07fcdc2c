#pragma once

#include <cstdint>
#include <deque>

#include "checkpoint/tensor.h"

namespace gondola {

/// Decides which updates are taken. Skips one whose loss or gradient norm is not finite, or whose norm exceeds `factor`
/// times the median of the last hundred taken; the median is used once twenty are known.
class SpikeGuard {
 public:
  /// With a factor of 0 nothing is skipped, and a loss or norm that is not finite ends the run.
  explicit SpikeGuard(double factor) : factor_(factor) {}

  /// Whether to take the update. Throws Error at the tenth in a row that is to be skipped.
  bool accepts(double loss, double gradient_norm);

  /// Updates skipped so far.
  std::int64_t skipped() const { return skipped_; }

  /// Everything that later decisions depend on, as a tensor for a checkpoint.
  Tensor state() const;
  void load_state(const Tensor& state);

 private:
  double median() const;

  double factor_;
  std::int64_t skipped_ = 0, in_a_row_ = 0;
  std::deque<float> norms_;
};

}  // namespace gondola
