#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gondola {
namespace {

Recipe recipe_with(Schedule schedule, std::int64_t steps) {
  Recipe recipe;
  recipe.schedule = schedule;
  recipe.learning_rate = 1e-3;
  recipe.warmup_steps = 10;
  recipe.steps = steps;
  return recipe;
}

TEST(LearningRate, WarmsUpLinearlyAndDecaysAsACosine) {
  const Recipe recipe = recipe_with(Schedule::cosine, 110);
  EXPECT_DOUBLE_EQ(learning_rate_at(0, recipe), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate_at(9, recipe), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate_at(10, recipe), 1e-3);
  EXPECT_NEAR(learning_rate_at(60, recipe), 5e-4, 1e-12);
  EXPECT_NEAR(learning_rate_at(85, recipe), 1e-3 * (1 - std::sqrt(0.5)) / 2, 1e-12);
}

TEST(LearningRate, StaysAtItsPeakUntilTheCooldown) {
  Recipe recipe = recipe_with(Schedule::constant, 110);
  EXPECT_DOUBLE_EQ(learning_rate_at(4, recipe), 5e-4);
  EXPECT_DOUBLE_EQ(learning_rate_at(109, recipe), 1e-3);
  recipe.cooldown_steps = 20;
  EXPECT_DOUBLE_EQ(learning_rate_at(90, recipe), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate_at(91, recipe), 0.95e-3);
  EXPECT_DOUBLE_EQ(learning_rate_at(100, recipe), 5e-4);
  EXPECT_DOUBLE_EQ(learning_rate_at(109, recipe), 0.05e-3);
}

}  // namespace
}  // namespace gondola
