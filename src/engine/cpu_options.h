#pragma once

#include "base/precision.h"

namespace gondola {

class Calibration;

/// How the CPU encoder computes.
struct CpuOptions {
  Precision precision = Precision::fp32;  ///< of the linear layers; a ModifiedResNet stays in fp32
  /// Computes what the result does not need, too: all tokens of the last layer and of a text. To measure by.
  bool every_token = false;
  Calibration* calibration = nullptr;  ///< shown what the transformers' linear layers read; in fp32
};

}  // namespace gondola
