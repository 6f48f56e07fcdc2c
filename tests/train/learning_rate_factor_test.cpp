#include "train/learning_rate_factor.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gondola {
namespace {

Recipe recipe_for(const char* model) {
  Recipe recipe;
  recipe.model = preset(model);
  return recipe;
}

void expect_factors(const Recipe& recipe, const std::vector<std::pair<const char*, double>>& factors) {
  for (const auto& [name, factor] : factors) EXPECT_DOUBLE_EQ(learning_rate_factor(name, recipe), factor) << name;
}

TEST(LearningRateFactor, FallsWithTheDistanceFromTheTop) {
  Recipe recipe = recipe_for("ViT-B-32");
  recipe.layer_decay = 0.5;
  recipe.image_lr_factor = 8;
  expect_factors(recipe, {{"visual.proj", 8},
                          {"visual.ln_post.bias", 8},
                          {"visual.transformer.resblocks.11.ln_1.weight", 4},
                          {"visual.transformer.resblocks.10.ln_1.weight", 2},
                          {"visual.transformer.resblocks.0.mlp.c_fc.weight", 8 * std::pow(0.5, 12)},
                          {"visual.conv1.weight", 8 * std::pow(0.5, 13)},
                          {"visual.class_embedding", 8 * std::pow(0.5, 13)},
                          {"visual.positional_embedding", 8 * std::pow(0.5, 13)},
                          {"visual.ln_pre.weight", 8 * std::pow(0.5, 13)},
                          {"text_projection", 1},
                          {"text_projection_bias", 1},
                          {"ln_final.weight", 1},
                          {"transformer.resblocks.11.attn.in_proj_weight", 0.5},
                          {"transformer.resblocks.1.attn.in_proj_weight", std::pow(0.5, 11)},
                          {"token_embedding.weight", std::pow(0.5, 13)},
                          {"positional_embedding", std::pow(0.5, 13)},
                          {"logit_scale", 1},
                          {"logit_bias", 1}});
}

TEST(LearningRateFactor, TakesAResNetsStagesAsBlocks) {
  Recipe recipe = recipe_for("RN50");
  recipe.layer_decay = 0.5;
  expect_factors(recipe, {{"visual.attnpool.c_proj.weight", 1},
                          {"visual.attnpool.positional_embedding", 1},
                          {"visual.layer4.0.conv1.weight", 0.5},
                          {"visual.layer1.2.bn3.weight", 1 / 16.0},
                          {"visual.conv1.weight", 1 / 32.0},
                          {"visual.bn3.weight", 1 / 32.0}});
}

TEST(LearningRateFactor, IsZeroInALockedTowerExceptItsUnlockedBlocks) {
  Recipe recipe = recipe_for("ViT-B-32");
  recipe.lock_image = true;
  expect_factors(recipe, {{"visual.proj", 0},
                          {"visual.conv1.weight", 0},
                          {"visual.transformer.resblocks.11.ln_1.weight", 0},
                          {"text_projection", 1},
                          {"token_embedding.weight", 1},
                          {"logit_scale", 1}});
  recipe.unlocked_blocks = 2;
  expect_factors(recipe, {{"visual.proj", 1},
                          {"visual.transformer.resblocks.11.ln_1.weight", 1},
                          {"visual.transformer.resblocks.10.ln_1.weight", 1},
                          {"visual.transformer.resblocks.9.ln_1.weight", 0},
                          {"visual.conv1.weight", 0}});
}

}  // namespace
}  // namespace gondola
