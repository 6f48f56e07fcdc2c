#pragma once

#include "train/communicator.h"

namespace gondola {

/// The sum over all ranks, differentiable: its gradient is summed over all ranks in turn. `communicator` must outlive
/// the backward pass.
at::Tensor sum_over_ranks(const at::Tensor& values, Communicator& communicator);

}  // namespace gondola
