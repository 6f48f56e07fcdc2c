#include "train/objective.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "base/error.h"
#include "config/model_config.h"
#include "tests/train/runs.h"

namespace gondola {
namespace {

Recipe tiny_recipe(const char* model) {
  Recipe recipe;
  recipe.model = preset(model);
  recipe.batch_size = 32;
  return recipe;
}

TEST(Objective, KeepsItsScaleWithinItsLimits) {
  const Recipe recipe = tiny_recipe("tiny-test");
  Objective objective(recipe, test::alone);
  const auto scale_of = [&](double logit_scale) {
    const torch::NoGradGuard no_gradients;
    for (auto& [name, tensor] : objective.tensors())
      if (name == "model.logit_scale") tensor.fill_(logit_scale);
    objective.clamp_logit_scale();
    return objective.scale();
  };
  EXPECT_EQ(scale_of(-1), 1);
  EXPECT_NEAR(scale_of(3), std::exp(3.0), 1e-4);
  EXPECT_NEAR(scale_of(10), recipe.max_scale, 1e-3);
}

TEST(Objective, RefusesToSplitTheBatchOfABatchNorm) {
  Recipe recipe = tiny_recipe("tiny-test-resnet");
  recipe.micro_batch_size = 4;
  EXPECT_THROW(Objective(recipe, test::alone), Error);
}

}  // namespace
}  // namespace gondola
