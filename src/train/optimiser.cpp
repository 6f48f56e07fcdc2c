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
    : communicator_(communicator),
      sharded_(recipe.shard_optimizer && communicator.size() > 1),
      muon_type_(recipe.bf16 ? at::kBFloat16 : at::kFloat),
      beta1_(recipe.beta1),
      beta2_(recipe.beta2),
      epsilon_(recipe.epsilon) {
  std::map<std::pair<double, double>, std::size_t> group_of;  // by factor and decay
  std::vector<std::int64_t> values_of(static_cast<std::size_t>(communicator.size()));
  for (const auto& [name, parameter] : parameters) {
    const auto least = std::min_element(values_of.begin(), values_of.end());
    *least += parameter.numel();
    const int owner = sharded_ ? static_cast<int>(least - values_of.begin()) : communicator.rank();
    const bool by_muon = recipe.muon && is_for_muon(name, parameter);
    parameters_.push_back(
        {by_muon ? std::vector{"momentum." + name} : std::vector{"exp_avg." + name, "exp_avg_sq." + name}, parameter,
         owner});
    if (owner != communicator.rank()) continue;
    const double factor = learning_rate_factor(name, recipe);
    const double decay = decays(name, parameter) ? recipe.weight_decay : 0;
    if (by_muon) {
      matrices_.push_back({name, parameter, at::zeros_like(parameter), matrices_of(name, recipe.model),
                           factor * recipe.muon_rate, decay});
      continue;
    }
    const auto [found, is_new] = group_of.emplace(std::pair(factor, decay), groups_.size());
    if (is_new) groups_.push_back({{}, {}, {}, {}, {}, factor, decay});
    Group& group = groups_[found->second];
    group.names.push_back(name);
    group.parameters.push_back(parameter);
    group.exp_avgs.push_back(at::zeros_like(parameter));
    group.exp_avg_sqs.push_back(at::zeros_like(parameter));
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
                      learning_rate * group.learning_rate_factor, beta1_, beta2_, group.weight_decay, epsilon_,
                      /*amsgrad=*/false, /*maximize=*/false);
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
    const bool transposed = is_input_major(matrix.name);
    const auto update = muon_update(transposed ? ahead.t() : ahead, matrix.matrices, muon_type_);
    matrix.parameter.sub_(transposed ? update.t() : update, rate);
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
  std::map<std::string, at::Tensor> own;
  for (const Group& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      own["exp_avg." + group.names[i]] = group.exp_avgs[i];
      own["exp_avg_sq." + group.names[i]] = group.exp_avg_sqs[i];
    }
  }
  for (const Matrix& matrix : matrices_) own["momentum." + matrix.name] = matrix.momentum;
  TensorMap state;
  for (const OwnedParameter& each : parameters_) {
    for (const std::string& name : each.moments) {
      const auto found = own.find(name);
      auto moments = found != own.end() ? found->second : at::empty_like(each.parameter);
      if (sharded_) communicator_.broadcast(moments, each.owner);
      if (communicator_.rank() == 0) state[name] = from_torch(moments);
    }
  }
  if (sharded_) communicator_.barrier();  // with NCCL, others have only queued the broadcasts and might leave
  return state;
}

void Optimiser::load_state(const TensorMap& state, std::int64_t steps) {
  for (Group& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      restore(group.exp_avgs[i], state, "exp_avg." + group.names[i]);
      restore(group.exp_avg_sqs[i], state, "exp_avg_sq." + group.names[i]);
      group.steps[i].fill_(static_cast<double>(steps));
    }
  }
  for (Matrix& matrix : matrices_) restore(matrix.momentum, state, "momentum." + matrix.name);
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
