#pragma once

#include <memory>
#include <string>

#include "base/precision.h"
#include "checkpoint/tensor.h"
#include "config/encoder.h"

namespace gondola {

/// The towers on libtorch, on a device as torch::Device names it ("cuda:1", "cpu"): in bf16 by autocast, or in fp32
/// proper, without TF32. Weights as make_cpu_encoder's; int8 ones are widened. On a GPU embeddings may depend on the
/// batch by rounding. Any number of threads may call any of its functions. Throws Error when the device is not there,
/// the precision is int8 or, as do all its functions, when PyTorch fails, such as where memory is full.
std::unique_ptr<Encoder> make_torch_encoder(const ModelConfig& config, const TensorMap& weights,
                                            const std::string& device, Precision precision);

}  // namespace gondola
