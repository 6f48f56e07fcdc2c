#pragma once

#include "train/communicator.h"

namespace gondola {

/// The sum over all ranks, for autograd: what each rank's use of it asks for is summed in turn. `communicator` must
/// outlive the backward pass.
at::Tensor sum_over_ranks(const at::Tensor& values, Communicator& communicator);

}  // namespace gondola
