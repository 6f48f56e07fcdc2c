#include "train/optimiser.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "torch_towers/tensors.h"
#include "train/learning_rates.h"

namespace gondola {

AdamW::AdamW(const NamedParameters& parameters, const Recipe& recipe)
    : beta1_(recipe.beta1), beta2_(recipe.beta2), epsilon_(recipe.epsilon) {
  std::map<std::pair<double, double>, std::size_t> group_of;  // by factor and decay
  for (const auto& [name, parameter] : parameters) {
    const double factor = learning_rate_factor(name, recipe);
    const double decay = decays(name, parameter) ? recipe.weight_decay : 0;
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

bool AdamW::decays(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && !name.ends_with("positional_embedding") && !name.ends_with("class_embedding");
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_gradients;
  for (Group& group : groups_) {
    std::vector<at::Tensor> gradients;
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      group.steps[i].add_(1);
      // A convolution's gradient may come in channels-last order; the kernel walks all operands alike.
      gradients.push_back(at::empty_like(group.parameters[i]).copy_(group.parameters[i].grad()));
    }
    at::_fused_adamw_(group.parameters, gradients, group.exp_avgs, group.exp_avg_sqs, {}, group.steps,
                      learning_rate * group.learning_rate_factor, beta1_, beta2_, group.weight_decay, epsilon_,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
  skip();
}

void AdamW::skip() {
  for (Group& group : groups_)
    for (at::Tensor& parameter : group.parameters) parameter.mutable_grad().reset();
}

TensorMap AdamW::state() const {
  TensorMap state;
  for (const Group& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      state["exp_avg." + group.names[i]] = from_torch(group.exp_avgs[i]);
      state["exp_avg_sq." + group.names[i]] = from_torch(group.exp_avg_sqs[i]);
    }
  }
  return state;
}

void AdamW::load_state(const TensorMap& state, std::int64_t steps) {
  for (Group& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      restore(group.exp_avgs[i], state, "exp_avg." + group.names[i]);
      restore(group.exp_avg_sqs[i], state, "exp_avg_sq." + group.names[i]);
      group.steps[i].fill_(static_cast<double>(steps));
    }
  }
}

double clip_gradients(const AdamW::NamedParameters& parameters, double limit) {
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> norms;
  for (const auto& [name, parameter] : parameters) norms.push_back(at::linalg_vector_norm(parameter.grad()));
  const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  if (limit > 0 && norm > limit)
    for (const auto& [name, parameter] : parameters) parameter.grad().mul_(limit / norm);
  return norm;
}

}  // namespace gondola
