#pragma once

#include "base/precision.h"

namespace gondola {

class Calibration;

/// How the CPU encoder computes.
struct CpuOptions {
  /// Of the linear layers: the residual stream is fp32, attention at least bf16. A ModifiedResNet stays in fp32.
  Precision precision = Precision::fp32;
  /// Computes what the result does not need, too: all tokens of the last layer and of a text. To measure by.
  bool every_token = false;
  Calibration* calibration = nullptr;  ///< shown what the transformers' linear layers read; in fp32
};

}  // namespace gondola
