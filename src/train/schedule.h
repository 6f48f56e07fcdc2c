#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace gondola {

/// open_clip's warm-up and cosine decay (open_clip_train/scheduler.py): base·(step + 1)/warmup, then
/// ½·base·(1 + cos(π·(step − warmup)/(steps − warmup))), which would reach 0 at `steps`.
inline double learning_rate_at(std::int64_t step, double base, std::int64_t warmup, std::int64_t steps) {
  if (step < warmup) return base * static_cast<double>(step + 1) / static_cast<double>(warmup);
  const double progress = static_cast<double>(step - warmup) / static_cast<double>(steps - warmup);
  return 0.5 * base * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace gondola
