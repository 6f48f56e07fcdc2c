#include "train/weight_average.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "torch_towers/tensors.h"

namespace gondola {

WeightAverage::WeightAverage(NamedTensors tensors, double decay) : decay_(decay) {
  for (auto& [name, tensor] : tensors) {
    names_.push_back(name);
    averages_.push_back(tensor.detach().clone());
    tensors_.push_back(std::move(tensor));
  }
}

void WeightAverage::update(std::int64_t update) {
  const at::NoGradGuard no_gradients;
  const auto t = static_cast<double>(update);
  at::_foreach_lerp_(averages_, tensors_, 1 - std::min(decay_, (1 + t) / (10 + t)));
}

void WeightAverage::swap() {
  const at::NoGradGuard no_gradients;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto weights = tensors_[i].clone();
    tensors_[i].copy_(averages_[i]);
    averages_[i].copy_(weights);
  }
}

TensorMap WeightAverage::state() const {
  TensorMap state;
  for (std::size_t i = 0; i < names_.size(); ++i) state["average." + names_[i]] = from_torch(averages_[i]);
  return state;
}

void WeightAverage::load_state(const TensorMap& state) {
  for (std::size_t i = 0; i < names_.size(); ++i) restore(averages_[i], state, "average." + names_[i]);
}

}  // namespace gondola
