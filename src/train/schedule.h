#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "train/recipe.h"

namespace gondola {

/// The learning rate of step `step` (from 0, below the recipe's `steps`): linear warm-up to the peak, then half a
/// cosine to zero, or the peak until a linear cooldown to zero (open_clip's cosine_lr and const_lr_cooldown).
inline double learning_rate_at(std::int64_t step, const Recipe& recipe) {
  const double peak = recipe.learning_rate;
  if (step < recipe.warmup_steps)
    return peak * static_cast<double>(step + 1) / static_cast<double>(recipe.warmup_steps);
  if (recipe.schedule == Schedule::constant) {
    const std::int64_t left = recipe.steps - step;
    if (left > recipe.cooldown_steps) return peak;
    return peak * static_cast<double>(left) / static_cast<double>(recipe.cooldown_steps);
  }
  const std::int64_t decay_steps = recipe.steps - recipe.warmup_steps;
  const double progress = static_cast<double>(step - recipe.warmup_steps) / static_cast<double>(decay_steps);
  return peak / 2 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace gondola
