#include "train/weight_average.h"

#include <gtest/gtest.h>
#include <torch/types.h>

namespace gondola {
namespace {

TEST(WeightAverage, IsAnExponentialMovingAverage) {
  auto weights = torch::full({3}, 5.0, torch::kFloat);
  constexpr double decay = 0.15;  // below (1 + t) / (10 + t) from the first update on
  WeightAverage average({{"w", weights}}, decay);
  double expected = 5 * std::pow(decay, 12);
  for (int update = 1; update <= 12; ++update) {
    weights.fill_(update * update);
    average.update(update);
    expected += (1 - decay) * std::pow(decay, 12 - update) * update * update;
  }
  average.swap();
  EXPECT_NEAR(weights[1].item<double>(), expected, 1e-4);
  average.swap();
  EXPECT_EQ(weights[1].item<double>(), 144);
}

TEST(WeightAverage, SoonForgetsTheInitialWeights) {
  auto weights = torch::full({1}, 11.0, torch::kFloat);
  WeightAverage average({{"w", weights}}, 0.9999);
  weights.fill_(0);
  average.update(1);
  average.update(2);
  average.swap();
  EXPECT_NEAR(weights[0].item<double>(), 11 * (2.0 / 11) * (3.0 / 12), 1e-6);
}

TEST(WeightAverage, ResumesFromItsState) {
  torch::manual_seed(1);
  auto weights = torch::randn({64});
  WeightAverage average({{"w", weights}}, 0.9), resumed({{"w", weights}}, 0.9);
  weights.normal_();
  average.update(1);
  resumed.load_state(average.state());
  weights.normal_();
  average.update(2);
  resumed.update(2);
  average.swap();
  const auto expected = weights.clone();
  average.swap();
  const auto before = weights.clone();
  {
    const AveragedWeights averaged(&resumed);
    EXPECT_TRUE(torch::equal(weights, expected));
  }
  EXPECT_TRUE(torch::equal(weights, before));
}

}  // namespace
}  // namespace gondola
