#pragma once

#include <torch/types.h>

#include <string>

namespace gondola {

/// A device by its name ("cpu", "cuda", "cuda:1"). What is in fp32 there is computed in fp32. Throws Error when it is
/// not there.
torch::Device find_device(const std::string& name);

}  // namespace gondola
