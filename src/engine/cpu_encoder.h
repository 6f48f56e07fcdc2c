#pragma once

#include <cstddef>
#include <memory>

#include "base/thread_pool.h"
#include "checkpoint/tensor.h"
#include "config/encoder.h"
#include "engine/cpu_options.h"

namespace gondola {

/// The precision of `--precision auto`: int8 for a model with int8 weights; else bf16 where the processor supports it
/// natively, else fp32.
Precision default_precision(const TensorMap& weights);

/// Makes an encoder that runs both towers on this processor's kernels.
/// `weights` follow the schema of checkpoint/model_files.h; throws Error naming the first weight that is missing or
/// does not fit. Each tower is packed on first use. `pool` must outlive the encoder; results depend neither on its size
/// nor on the batch.
std::unique_ptr<Encoder> make_cpu_encoder(const ModelConfig& config, TensorMap weights, const CpuOptions& options,
                                          ThreadPool& pool);

}  // namespace gondola
