#pragma once

#include <memory>
#include <string>

#include "base/precision.h"
#include "checkpoint/tensor.h"
#include "config/encoder.h"

namespace gondola {

/// Makes an encoder that runs both towers on libtorch, on a device named as in torch::Device ("cuda:1", "cpu"): in bf16
/// by autocast, or in true fp32, without TF32. `weights` as for make_cpu_encoder; int8 ones are dequantised. On a GPU,
/// rounding may depend on the batch. All its functions are thread-safe. Throws Error if the device does not exist or
/// the precision is int8, and, like all its functions, if PyTorch fails, for example when memory is full.
std::unique_ptr<Encoder> make_torch_encoder(const ModelConfig& config, const TensorMap& weights,
                                            const std::string& device, Precision precision);

}  // namespace gondola
