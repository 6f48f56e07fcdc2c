#pragma once

#include <torch/types.h>

#include <string>

namespace gondola {

/// Finds a device by name ("cpu", "cuda", "cuda:1") and makes sure that fp32 there means fp32, not TF32. Throws Error
/// if there is no such device.
torch::Device find_device(const std::string& name);

}  // namespace gondola
