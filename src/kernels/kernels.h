#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "kernels/gemm.h"
#include "kernels/layer_norm.h"
#include "kernels/rows.h"
#include "kernels/softmax.h"

namespace gondola {

/// The operations that have a version for each instruction set. The scalar one defines the result.
struct Kernels {
  std::size_t panel_width;   ///< columns of a panel of packed weights
  GemmFunction* gemm_of[3];  ///< by precision
  PeakFunction* peak_of[3];  ///< by precision
  bool native_bf16;          ///< whether bf16 is faster than fp32
  int int8_weight_limit;     ///< int8 weights lie in [−int8_weight_limit, int8_weight_limit]
  ConvertFunction* convert;
  LayerNormFunction* layer_norm;
  SoftmaxFunction* softmax;

  void gemm(const GemmArguments& arguments) const {
    gemm_of[static_cast<std::size_t>(arguments.right.precision)](arguments);
  }
};

/// The best versions that `isa` can run; the caller ensures that this machine supports it (base/cpu.h).
const Kernels& kernels_for(Isa isa);

}  // namespace gondola
