#include "torch_towers/batch_norm.h"

namespace gondola {

torch::Tensor BatchNormImpl::forward(const torch::Tensor& x) {
  if (!all_reduce_sum || !is_training()) return torch::nn::BatchNorm2dImpl::forward(x);
  const auto wide = x.scalar_type() == torch::kDouble ? x : x.to(torch::kFloat);
  const auto of_channels = [](const torch::Tensor& values) { return values.view({1, -1, 1, 1}); };
  const auto sum = [&](const torch::Tensor& values) { return all_reduce_sum(values.sum({0, 2, 3})); };
  const auto values = torch::full({1}, static_cast<double>(x.numel() / x.size(1)), wide.options());
  const auto count = all_reduce_sum(values);
  const auto mean = sum(wide) / count;
  const auto centred = wide - of_channels(mean);
  const auto variance = sum(centred * centred) / count;
  {
    const torch::NoGradGuard no_gradients;
    const double momentum = *options.momentum();
    running_mean.lerp_(mean, momentum);
    running_var.lerp_(variance * count / (count - 1), momentum);
    num_batches_tracked += 1;
  }
  return (centred * of_channels(weight / (variance + options.eps()).sqrt()) + of_channels(bias)).to(x.scalar_type());
}

}  // namespace gondola
