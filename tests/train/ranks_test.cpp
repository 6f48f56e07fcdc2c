// Several ranks and micro-batches, compared with one process that computes the whole batch at once.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "config/model_config.h"
#include "tests/train/peak_memory.h"
#include "tests/train/ranks.h"
#include "train/objective.h"

namespace gondola {
namespace {

using test::relative_error;

Recipe recipe_of(bool norms, bool sigmoid, int micro_batch_size, int pairs = 32) {
  Recipe recipe;
  recipe.model = preset("tiny-test");
  recipe.model.sigmoid_loss = sigmoid;
  recipe.batch_norm_embeddings = norms;
  recipe.soft_targets = true;
  recipe.batch_size = pairs;
  recipe.micro_batch_size = micro_batch_size;
  return recipe;
}

/// What all ranks share, drawn only once, since all threads share torch's generator.
struct Whole {
  explicit Whole(const Recipe& recipe) : texts_each(recipe.captions_per_image) {
    torch::manual_seed(11);
    const int size = recipe.model.image.image_size;
    pixels = torch::randn({recipe.batch_size, 3, size, size}, torch::kDouble);
    texts = torch::randint(0, recipe.model.text.vocab_size, {recipe.batch_size * 5 / 8, 9}, torch::kLong);
    Communicator alone;
    state = Objective(recipe, alone).state();
  }
  at::Tensor pixels, texts;
  int texts_each;
  TensorMap state;
};

/// Images first … last − 1 of a batch whose texts repeat, within ranks and across.
Batch batch_of(const Whole& whole, std::int64_t first, std::int64_t last) {
  std::map<std::int64_t, std::int64_t> row_of;
  std::vector<std::int64_t> captions, keys;
  for (std::int64_t i = first * whole.texts_each; i < last * whole.texts_each; ++i) {
    const std::int64_t key = i * 7 % whole.texts.size(0);
    const auto [found, is_new] = row_of.emplace(key, static_cast<std::int64_t>(keys.size()));
    if (is_new) keys.push_back(key);
    captions.push_back(found->second);
  }
  const auto key_tensor = torch::tensor(keys, torch::kLong);
  return {whole.pixels.narrow(0, first, last - first), whole.texts.index_select(0, key_tensor),
          torch::tensor(captions, torch::kLong).view({-1, whole.texts_each}), key_tensor};
}

struct Outcome {
  double loss = 0;
  std::map<std::string, at::Tensor> gradients, statistics;
};

Outcome outcome_of(const Whole& whole, const Recipe& recipe, torch::ScalarType type, Communicator& communicator) {
  Objective objective(recipe, communicator, type);
  objective.load_state(whole.state);
  const std::int64_t rank = communicator.rank(), size = communicator.size(), pairs = whole.pixels.size(0);
  Outcome outcome;
  outcome.loss = objective.backward(batch_of(whole, pairs * rank / size, pairs * (rank + 1) / size));
  for (const auto& [name, parameter] : objective.parameters()) outcome.gradients[name] = parameter.grad().clone();
  for (const auto& [name, tensor] : objective.tensors())
    if (name.find("running") != std::string::npos) outcome.statistics[name] = tensor.clone();
  return outcome;
}

using Mode = std::pair<int, int>;  // ranks, micro-batch

class Gradients : public testing::TestWithParam<Mode> {};

void expect_near(const Outcome& found, const Outcome& expected, double tolerance) {
  for (const auto& [name, gradient] : expected.gradients)
    if (gradient.norm().item<double>() > 1e-9) {  // a bias that a norm cancels has only rounding errors
      EXPECT_LT(relative_error(found.gradients.at(name), gradient), tolerance) << name;
    }
  for (const auto& [name, statistic] : expected.statistics)
    EXPECT_LT(relative_error(found.statistics.at(name), statistic), tolerance) << name;
}

/// Compares `ranks` ranks with one process that computes the whole batch at once in fp64.
void expect_gradients_of_the_whole_batch(int ranks, const Recipe& recipe) {
  Recipe at_once = recipe;
  at_once.micro_batch_size = 0;
  Communicator alone;
  const Whole whole(at_once);
  const Outcome expected = outcome_of(whole, at_once, torch::kDouble, alone);
  for (const auto& [type, tolerance] : {std::pair(torch::kDouble, 1e-6), std::pair(torch::kFloat, 1e-4)}) {
    test::on_ranks(ranks, [&, type = type, tolerance = tolerance](Communicator& communicator) {
      const Outcome found = outcome_of(whole, recipe, type, communicator);
      EXPECT_NEAR(found.loss, expected.loss, tolerance * expected.loss);
      expect_near(found, expected, tolerance);
    });
  }
}

TEST_P(Gradients, MatchTheWholeBatchAtOnce) {
  const auto [ranks, micro] = GetParam();
  for (const bool norms : {false, true})
    for (const bool sigmoid : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, {}", norms ? "norms" : "no norms", sigmoid ? "sigmoid" : "softmax"));
      expect_gradients_of_the_whole_batch(ranks, recipe_of(norms, sigmoid, micro));
    }
}

INSTANTIATE_TEST_SUITE_P(Modes, Gradients,
                         testing::Values(Mode{1, 1}, Mode{1, 3}, Mode{2, 0}, Mode{2, 1}, Mode{2, 3}, Mode{4, 0},
                                         Mode{4, 3}),
                         [](const auto& mode) {
                           return fmt::format("{}Ranks{}AtATime", mode.param.first, mode.param.second);
                         });

/// Where texts repeat, soft targets give the sigmoid loss more positives, and leave CLIP's loss as it is.
TEST(SoftTargets, AreTakenFromTheRecipe) {
  for (const bool sigmoid : {false, true}) {
    const Recipe soft = recipe_of(/*norms=*/true, sigmoid, /*micro_batch_size=*/0);
    Recipe hard = soft;
    hard.soft_targets = false;
    const Whole whole(soft);
    Communicator alone;
    const double with = outcome_of(whole, soft, torch::kDouble, alone).loss;
    const double without = outcome_of(whole, hard, torch::kDouble, alone).loss;
    EXPECT_EQ(std::abs(with - without) > 1e-3, sigmoid) << with << " " << without;
  }
}

TEST(Precision, IsTakenFromTheRecipe) {
  const Recipe exact = recipe_of(/*norms=*/true, /*sigmoid=*/false, /*micro_batch_size=*/0);
  Recipe rounded = exact;
  rounded.bf16 = true;
  const Whole whole(exact);
  Communicator alone;
  const double fp32 = outcome_of(whole, exact, torch::kFloat, alone).loss;
  const double bf16 = outcome_of(whole, rounded, torch::kFloat, alone).loss;
  EXPECT_NEAR(fp32, outcome_of(whole, exact, torch::kDouble, alone).loss, 1e-5 * fp32);
  EXPECT_NEAR(bf16, fp32, 2e-2 * fp32);
  EXPECT_GT(std::abs(bf16 - fp32), 1e-5 * fp32);
  const auto evaluated = [&](const Recipe& recipe) {
    Objective objective(recipe, alone);
    objective.load_state(whole.state);
    objective.train(false);
    return objective.evaluation_encoders().images(whole.pixels.to(torch::kFloat));
  };
  const double error = relative_error(evaluated(rounded), evaluated(exact));
  EXPECT_LT(error, 0.05);
  EXPECT_GT(error, 1e-4);
}

TEST(Gradients, WithSeveralCaptionsPerImageMatchTheWholeBatchAtOnce) {
  for (const bool sigmoid : {false, true}) {
    Recipe recipe = recipe_of(/*norms=*/true, sigmoid, /*micro_batch_size=*/3);
    recipe.captions_per_image = 2;
    expect_gradients_of_the_whole_batch(2, recipe);
  }
}

/// A locked tower is not encoded again for gradients.
TEST(Gradients, BesideALockedTowerMatchTheWholeBatchAtOnce) {
  for (bool Recipe::*lock : {&Recipe::lock_image, &Recipe::lock_text}) {
    Recipe recipe = recipe_of(/*norms=*/false, /*sigmoid=*/false, /*micro_batch_size=*/3);
    recipe.*lock = true;
    expect_gradients_of_the_whole_batch(2, recipe);
  }
}

/// Its batch norms see the images of all ranks.
TEST(Gradients, OfAResNetMatchTheWholeBatchAtOnce) {
  Recipe recipe = recipe_of(true, false, 0);
  recipe.model = preset("tiny-test-resnet");
  const Whole whole(recipe);
  Communicator alone;
  const Outcome expected = outcome_of(whole, recipe, torch::kDouble, alone);
  for (const int ranks : {2, 4}) {
    test::on_ranks(ranks, [&](Communicator& communicator) {
      const Outcome found = outcome_of(whole, recipe, torch::kDouble, communicator);
      EXPECT_NEAR(found.loss, expected.loss, 1e-9);
      expect_near(found, expected, 1e-6);
    });
  }
}

/// Recomputing gives the same bits.
TEST(Gradients, AreTheSameWithActivationCheckpointing) {
  Communicator alone;
  Recipe recipe = recipe_of(true, false, 3);
  const Whole whole(recipe);
  const Outcome expected = outcome_of(whole, recipe, torch::kFloat, alone);
  recipe.activation_checkpointing = true;
  const Outcome found = outcome_of(whole, recipe, torch::kFloat, alone);
  EXPECT_EQ(found.loss, expected.loss);
  for (const auto& [name, gradient] : expected.gradients) EXPECT_TRUE(found.gradients.at(name).equal(gradient)) << name;
}

/// So many texts that they are encoded in groups, each of which recomputes the blocks.
TEST(Gradients, WithActivationCheckpointingMatchTheWholeBatchAtOnce) {
  Recipe recipe = recipe_of(false, false, 0, 160);
  const Whole whole(recipe);
  Communicator alone;
  const Outcome expected = outcome_of(whole, recipe, torch::kDouble, alone);
  recipe.activation_checkpointing = true;
  for (const int ranks : {1, 2}) {
    for (const int micro : {0, 20}) {
      recipe.micro_batch_size = micro;
      test::on_ranks(ranks, [&](Communicator& communicator) {
        expect_near(outcome_of(whole, recipe, torch::kDouble, communicator), expected, 1e-6);
      });
    }
  }
}

/// This is what micro-batches and recomputed blocks are for.
TEST(Memory, ShrinksWithMicroBatchesAndActivationCheckpointing) {
  Communicator alone;
  Recipe recipe = recipe_of(false, false, 0, 96);
  const Whole whole(recipe);
  const auto peak = [&](int micro_batch_size, bool checkpointing) {
    recipe.micro_batch_size = micro_batch_size;
    recipe.activation_checkpointing = checkpointing;
    Objective objective(recipe, alone);
    const Batch batch = batch_of(whole, 0, recipe.batch_size);
    objective.backward(batch);  // the gradients' memory stays
    return static_cast<double>(test::peak_memory([&] { objective.backward(batch); }));
  };
  const double at_once = peak(0, false);
  EXPECT_LT(peak(8, false), 0.4 * at_once);
  EXPECT_LT(peak(0, true), 0.7 * at_once);
}

/// Autocast caches casts of weights; none may survive an update.
TEST(Gradients, UseTheCurrentWeights) {
  Communicator alone;
  std::vector<double> losses;
  for (const bool checkpointing : {false, true}) {
    Recipe recipe = recipe_of(false, false, 0);
    recipe.bf16 = true;
    recipe.activation_checkpointing = checkpointing;
    const Whole whole(recipe);
    Objective objective(recipe, alone);
    objective.load_state(whole.state);
    objective.backward(batch_of(whole, 0, recipe.batch_size));
    const torch::NoGradGuard no_gradients;
    for (const auto& [name, parameter] : objective.parameters()) at::Tensor(parameter).mul_(0.5);
    const at::AutoGradMode with_gradients(true);
    losses.push_back(objective.backward(batch_of(whole, 0, recipe.batch_size)));
  }
  EXPECT_EQ(losses[0], losses[1]);
}

/// The image tower learns from the patches that a batch names, and from no others.
TEST(Gradients, ComeOnlyFromTheKeptPatches) {
  Communicator alone;
  const Recipe recipe = recipe_of(false, false, 3);
  const Whole whole(recipe);
  Objective objective(recipe, alone, torch::kDouble);
  objective.load_state(whole.state);
  Batch batch = batch_of(whole, 0, recipe.batch_size);
  batch.patches = torch::tensor({0, 5}, torch::kLong).expand({recipe.batch_size, 2});
  const double loss = objective.backward(batch);
  batch.pixels = batch.pixels.clone();
  batch.pixels.slice(2, 16).fill_(9);  // below the second row of patches
  EXPECT_EQ(objective.backward(batch), loss);
  batch.patches = torch::Tensor();
  EXPECT_NE(objective.backward(batch), loss);
}

TEST(GradientSync, GroupsParametersIntoBuckets) {
  Communicator alone;
  const auto parameter = [](std::int64_t bytes) { return torch::zeros({bytes / 4}); };
  constexpr std::int64_t mb = 1 << 20;
  const NamedTensors parameters = {{"a", parameter(20 * mb)}, {"b", parameter(30 * mb)}, {"c", parameter(4)}};
  EXPECT_EQ(GradientSync(parameters, alone).bucket_sizes(), (std::vector<std::int64_t>{4, 30 * mb, 20 * mb}));
  NamedTensors equal;
  for (int i = 0; i < 100; ++i) equal.emplace_back("x", parameter(mb / 4));
  const std::vector<std::int64_t> sizes = GradientSync(equal, alone).bucket_sizes();  // an eighth of 25 MB
  EXPECT_EQ(sizes.front(), 3 * mb);
  EXPECT_EQ(sizes.size(), 9u);
}

}  // namespace
}  // namespace gondola
