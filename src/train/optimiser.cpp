#include "train/optimiser.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>

#include "torch_towers/tensors.h"
#include "train/learning_rate_factor.h"
#include "train/muon.h"

namespace gondola {
namespace {

bool decays(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && !name.ends_with("positional_embedding");
}

}  // namespace

Optimiser::Optimiser(const NamedTensors& parameters, const Recipe& recipe, Communicator& communicator)
    : recipe_(recipe), communicator_(communicator), sharded_(recipe.shards_optimizer() && communicator.size() > 1) {
  std::map<std::pair<double, double>, std::size_t> group_of;  // by factor and decay
  std::vector<std::int64_t> values_of(static_cast<std::size_t>(communicator.size()));
  for (const auto& [name, parameter] : parameters) {
    const auto least = std::min_element(values_of.begin(), values_of.end());
    *least += parameter.numel();
    const int owner = sharded_ ? static_cast<int>(least - values_of.begin()) : communicator.rank();
    const bool by_muon = recipe.muon && uses_muon(name, parameter), is_own = owner == communicator.rank();
    OwnedParameter& each = parameters_.emplace_back(OwnedParameter{parameter, owner, {}});
    for (const char* moment :
         by_muon ? std::vector<const char*>{"momentum."} : std::vector<const char*>{"exp_avg.", "exp_avg_sq."})
      each.moments.emplace_back(moment + name, is_own ? at::zeros_like(parameter) : at::Tensor());
    if (!is_own) continue;
    const double factor = learning_rate_factor(name, recipe);
    const double decay = decays(name, parameter) ? recipe.weight_decay : 0;
    if (by_muon) {
      matrices_.push_back({parameter, each.moments[0].second, matrix_count(name, recipe.model), is_input_major(name),
                           factor * recipe.muon_lr_factor, decay});
      continue;
    }
    const auto [found, is_new] = group_of.emplace(std::pair(factor, decay), groups_.size());
    if (is_new) groups_.push_back({{}, {}, {}, {}, factor, decay});
    Group& group = groups_[found->second];
    group.parameters.push_back(parameter);
    group.exp_avgs.push_back(each.moments[0].second);
    group.exp_avg_sqs.push_back(each.moments[1].second);
    group.steps.push_back(at::zeros({}, parameter.options().dtype(at::kFloat)));
  }
}

void Optimiser::step(double learning_rate) {
  const at::NoGradGuard no_gradients;
  step_adamw(learning_rate);
  step_muon(learning_rate);
  if (sharded_) broadcast_parameters();
  zero_grad();
}

void Optimiser::step_adamw(double learning_rate) {
  for (Group& group : groups_) {
    at::_foreach_add_(group.steps, 1);
    std::vector<at::Tensor> gradients;  // by autograd's contract laid out as their parameters, as the kernel requires
    for (const at::Tensor& parameter : group.parameters) gradients.push_back(parameter.grad());
    at::_fused_adamw_(group.parameters, gradients, group.exp_avgs, group.exp_avg_sqs, {}, group.steps,
                      learning_rate * group.learning_rate_factor, recipe_.beta1, recipe_.beta2, group.weight_decay,
                      recipe_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  }
}

void Optimiser::step_muon(double learning_rate) {
  constexpr double momentum = 0.95;
  for (Matrix& matrix : matrices_) {
    const auto& gradient = matrix.parameter.grad();
    matrix.momentum.lerp_(gradient, 1 - momentum);
    const auto ahead = gradient.lerp(matrix.momentum, momentum);  // Nesterov's
    const double rate = learning_rate * matrix.learning_rate_factor;
    matrix.parameter.mul_(1 - rate * matrix.weight_decay);
    const auto update =
        muon_update(matrix.input_major ? ahead.t() : ahead, matrix.matrices, recipe_.bf16 ? at::kBFloat16 : at::kFloat);
    matrix.parameter.sub_(matrix.input_major ? update.t() : update, rate);
  }
}

/// Sends each rank's own parameters to all others, in one message per rank.
void Optimiser::broadcast_parameters() {
  for (int owner = 0; owner < communicator_.size(); ++owner) {
    std::vector<at::Tensor> own;
    for (const OwnedParameter& each : parameters_)
      if (each.owner == owner) own.push_back(each.parameter.view(-1));
    if (own.empty()) continue;
    auto values = at::cat(own);
    communicator_.broadcast(values, owner);
    std::int64_t first = 0;
    for (at::Tensor& parameter : own) {
      parameter.copy_(values.narrow(0, first, parameter.numel()));
      first += parameter.numel();
    }
  }
}

void Optimiser::zero_grad() {
  for (OwnedParameter& each : parameters_) each.parameter.mutable_grad().reset();
}

TensorMap Optimiser::state() const {
  TensorMap state;
  for (const OwnedParameter& each : parameters_) {
    for (const auto& [name, own] : each.moments) {
      auto moments = own.defined() ? own : at::empty_like(each.parameter);
      if (sharded_) communicator_.broadcast(moments, each.owner);
      if (communicator_.rank() == 0) state[name] = from_torch(moments);
    }
  }
  if (sharded_) communicator_.barrier();  // with NCCL, others have only queued the broadcasts and might leave
  return state;
}

void Optimiser::load_state(const TensorMap& state, std::int64_t steps) {
  for (const OwnedParameter& each : parameters_)
    for (const auto& [name, own] : each.moments)
      if (own.defined()) restore(own, state, name);
  for (Group& group : groups_)
    for (at::Tensor& count : group.steps) count.fill_(static_cast<double>(steps));
}

double clip_gradients(const NamedTensors& parameters, double limit, Communicator& communicator) {
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters) gradients.push_back(parameter.grad());
  auto of_all = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)));
  communicator.broadcast(of_all);  // its last bits depend on the number of threads
  const double norm = of_all.item<double>();
  if (limit > 0 && norm > limit) at::_foreach_mul_(gradients, limit / norm);
  return norm;
}

}  // namespace gondola
