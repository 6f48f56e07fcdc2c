#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>
#include <vector>

#include "torch_towers/tensors.h"

namespace gondola {

/// The exponential moving average of weights (and of running statistics), which is validated and exported instead of
/// them. After update t it becomes d·average + (1 − d)·weights, d = min(decay, (1 + t) / (10 + t)), so that the random
/// start is soon forgotten (TensorFlow's ExponentialMovingAverage with num_updates).
class WeightAverage {
 public:
  /// Starts as a copy of the tensors, and keeps references to them.
  WeightAverage(NamedTensors tensors, double decay);

  /// Updates the average; call after the weights' `update`th update, counted from 1.
  void update(std::int64_t update);

  /// Swaps the average and the weights; a second call swaps them back, bit for bit.
  void swap();

  /// The average by name, with the prefix "average.".
  TensorMap state() const;
  void load_state(const TensorMap& state);

 private:
  std::vector<std::string> names_;
  std::vector<at::Tensor> tensors_, averages_;
  double decay_;
};

/// Puts the average, if there is one, in the weights' place for the object's lifetime.
class AveragedWeights {
 public:
  explicit AveragedWeights(WeightAverage* average) : average_(average) {
    if (average_ != nullptr) average_->swap();
  }
  /// Throws what the swap throws, unless another exception is already propagating.
  ~AveragedWeights() noexcept(false) {
    if (average_ == nullptr) return;
    try {
      average_->swap();
    } catch (const std::exception&) {
      if (std::uncaught_exceptions() == exceptions_) throw;
    }
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  WeightAverage* average_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace gondola
