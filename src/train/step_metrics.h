#pragma once

#include <cstdint>
#include <optional>

#include "train/report.h"

namespace gondola {

/// The metrics of one step: a line of metrics.jsonl, points of TensorBoard's curves, the terminal's view.
struct StepMetrics {
  std::int64_t step = 0;  ///< steps done, this one included
  double loss = 0;
  double learning_rate = 0;
  double scale = 0;                 ///< exp(logit_scale)
  std::optional<double> bias = {};  ///< logit_bias, of the sigmoid loss
  double gradient_norm = 0;
  std::int64_t skipped = 0;  ///< updates skipped since the start of the run
  double samples_per_second = 0;
  double loader_wait = 0;  ///< share of the step's time spent waiting for its batch
  double mfu = 0;          ///< model FLOPs utilisation (train/flops.h)

  /// In the order in which they are shown.
  Named<double> list() const {
    Named<double> metrics = {{"loss", loss}, {"learning_rate", learning_rate}, {"scale", scale}};
    if (bias) metrics.emplace_back("bias", *bias);
    metrics.insert(metrics.end(), {{"gradient_norm", gradient_norm},
                                   {"skipped", static_cast<double>(skipped)},
                                   {"samples_per_second", samples_per_second},
                                   {"loader_wait", loader_wait},
                                   {"mfu", mfu}});
    return metrics;
  }
};

}  // namespace gondola
