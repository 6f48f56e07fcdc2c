#include "torch_towers/device.h"

#include <ATen/Context.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include "base/error.h"

namespace gondola {
namespace {

torch::Device parse(const std::string& name) {
  try {
    const torch::Device device(name);
    if (name == "cpu" || (device.is_cuda() && device.str() == name)) return device;  // "cuda:256" parses as cuda:0
  } catch (const c10::Error&) {                                                      // not a device name
  }
  fail("device {}: expected cpu, cuda or cuda:N", name);
}

}  // namespace

torch::Device find_device(const std::string& name) {
  const torch::Device device = parse(name);
  if (!device.is_cuda()) return device;
  const auto count = static_cast<int>(torch::cuda::device_count());
  if (count == 0) fail("device {}: PyTorch {} finds no GPU here", name, TORCH_VERSION);
  if (device.index() >= count) fail("device {}: the last of {} GPUs is cuda:{}", name, count, count - 1);
  at::globalContext().setAllowTF32CuDNN(false);  // on by default, for convolutions
  return device;
}

}  // namespace gondola
