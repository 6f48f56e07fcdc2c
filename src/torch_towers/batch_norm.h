#pragma once

#include <torch/nn/modules/batchnorm.h>

#include <functional>

namespace gondola {

/// torch.nn.BatchNorm2d, whose batch may be spread over several processes.
struct BatchNormImpl : torch::nn::BatchNorm2dImpl {
  using torch::nn::BatchNorm2dImpl::BatchNorm2dImpl;

  /// x: batch × channels × height × width.
  torch::Tensor forward(const torch::Tensor& x);

  /// The sum over all processes, for autograd; empty: there is one. In training, statistics are those of the whole
  /// batch.
  std::function<torch::Tensor(const torch::Tensor&)> sum_over_processes;
};
TORCH_MODULE(BatchNorm);

}  // namespace gondola
