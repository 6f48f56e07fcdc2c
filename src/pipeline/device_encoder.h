#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "checkpoint/tensor.h"
#include "config/encoder.h"
#include "engine/cpu_options.h"

namespace gondola {

/// What `--precision auto` means on a device: on the CPU default_precision, else bf16.
Precision default_precision(const std::string& device, const TensorMap& weights);

/// What the image tower runs in there when `precision` is asked for: on the CPU a ModifiedResNet stays in fp32.
Precision image_precision(const std::string& device, const ModelConfig& config, Precision precision);

/// The towers on a device: "cpu" for make_cpu_encoder, else ("cuda", "cuda:1") for libtorch's, from a library that is
/// loaded when it is first asked for, so that nobody else waits for PyTorch. Of `options`, libtorch's reads only the
/// precision. Throws Error when the library, PyTorch or the device is not there.
std::unique_ptr<Encoder> make_encoder(const std::string& device, const ModelConfig& config, TensorMap weights,
                                      const CpuOptions& options, ThreadPool& pool);

/// Where that library is: beside the program or libgondola, as after a build, or where `cmake --install` puts it.
std::filesystem::path encoder_plugin_path();

/// libtorch's, also on its own "cpu".
std::unique_ptr<Encoder> load_torch_encoder(const std::string& device, const ModelConfig& config,
                                            const TensorMap& weights, Precision precision);

}  // namespace gondola
