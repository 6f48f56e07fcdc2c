#include "train/flops.h"

#include <gtest/gtest.h>

namespace gondola {
namespace {

TEST(TrainingFlops, CountThreeForwardPassesOrOneForALockedTower) {
  Recipe recipe;
  recipe.model = preset("ViT-B-32");
  // open_clip's model_profile.csv: 8.82 and 5.96 GFLOPs
  EXPECT_NEAR(training_flops(recipe, 10, 10, 77) / 1e9, 30 * (8.82 + 5.96), 0.4);
  EXPECT_NEAR(training_flops(recipe, 10, 0, 77) / 1e9, 30 * 8.82, 0.2);
  EXPECT_LT(training_flops(recipe, 0, 10, 10), 0.14 * training_flops(recipe, 0, 10, 77));
  recipe.patch_dropout = 0.5;
  EXPECT_NEAR(training_flops(recipe, 10, 0, 77) / 1e9, 15 * 8.82, 0.2);
  recipe.patch_dropout = 0;
  recipe.lock_image = true;
  EXPECT_NEAR(training_flops(recipe, 10, 10, 77) / 1e9, 10 * 8.82 + 30 * 5.96, 0.4);
}

TEST(PeakFlops, AreMeasuredOrGiven) {
  Recipe recipe;
  EXPECT_GT(peak_flops(recipe), 1e9);
  recipe.peak_tflops = 989;
  EXPECT_DOUBLE_EQ(peak_flops(recipe), 989e12);
}

}  // namespace
}  // namespace gondola
