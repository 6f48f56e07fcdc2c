#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "checkpoint/tensor.h"
#include "config/encoder.h"
#include "engine/cpu_options.h"

namespace gondola {

/// What `--precision auto` means on a device: default_precision(weights) on the CPU, otherwise bf16.
Precision default_precision(const std::string& device, const TensorMap& weights);

/// The precision that the image tower runs in when `precision` is requested: a ModifiedResNet stays in fp32 on the CPU.
Precision image_precision(const std::string& device, const ModelConfig& config, Precision precision);

/// Makes the towers on a device: make_cpu_encoder's for "cpu", otherwise ("cuda", "cuda:1") libtorch's, from a library
/// that is loaded on first use, so that nobody else waits for PyTorch. libtorch's reads only the precision of
/// `options`. Throws Error when the library, PyTorch or the device is missing.
std::unique_ptr<Encoder> make_encoder(const std::string& device, const ModelConfig& config, TensorMap weights,
                                      const CpuOptions& options, ThreadPool& pool);

/// The path of that library: beside the program or libgondola, as after a build, or where `cmake --install` puts it.
std::filesystem::path encoder_plugin_path();

/// Makes libtorch's encoder, on "cpu" too.
std::unique_ptr<Encoder> load_torch_encoder(const std::string& device, const ModelConfig& config,
                                            const TensorMap& weights, Precision precision);

}  // namespace gondola
