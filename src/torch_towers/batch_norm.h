#pragma once

#include <torch/nn/modules/batchnorm.h>

#include <functional>

namespace gondola {

/// torch.nn.BatchNorm2d for a batch that may be spread over several processes.
struct BatchNormImpl : torch::nn::BatchNorm2dImpl {
  using torch::nn::BatchNorm2dImpl::BatchNorm2dImpl;

  /// x: batch × channels × height × width.
  torch::Tensor forward(const torch::Tensor& x);

  /// Sums over all processes, differentiably; empty if there is only one. Training uses statistics of the whole batch.
  std::function<torch::Tensor(const torch::Tensor&)> all_reduce_sum;
};
TORCH_MODULE(BatchNorm);

}  // namespace gondola
