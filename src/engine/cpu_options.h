#pragma once

#include "base/precision.h"

namespace gondola {

class Calibration;

/// How the CPU encoder computes.
struct CpuOptions {
  /// Precision of the linear layers. The residual stream is fp32, attention at least bf16, a ModifiedResNet all fp32.
  Precision precision = Precision::fp32;
  /// Also computes what the result does not need: all tokens of the last layer and of each text. For measurements.
  bool every_token = false;
  Calibration* calibration = nullptr;  ///< records the inputs of the transformers' linear layers; needs fp32
};

}  // namespace gondola
