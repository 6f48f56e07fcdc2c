#pragma once

#include <cstddef>
#include <memory>

#include "base/thread_pool.h"
#include "checkpoint/tensor.h"
#include "config/encoder.h"
#include "engine/cpu_options.h"

namespace gondola {

/// What `--precision auto` means: int8 for a model with int8 weights; else bf16 where the processor has it natively,
/// else fp32.
Precision default_precision(const TensorMap& weights);

/// The towers on the kernels of this processor.
/// `weights` follow the schema of checkpoint/model_files.h; every name and shape is checked and an Error names what is
/// missing or does not fit. Both towers are packed on first use. `pool` must outlive the encoder; results do not depend
/// on its size, nor on the batch.
std::unique_ptr<Encoder> make_cpu_encoder(const ModelConfig& config, TensorMap weights, const CpuOptions& options,
                                          ThreadPool& pool);

}  // namespace gondola
