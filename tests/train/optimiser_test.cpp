// Updates of the weights against torch.optim's AdamW and Muon's formula.
#include "train/optimiser.h"

#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>

#include <array>

#include "tests/train/peak_memory.h"
#include "tests/train/ranks.h"
#include "train/muon.h"

namespace gondola {
namespace {

Recipe recipe_of_adamw() {
  Recipe recipe;
  recipe.model = preset("ViT-B-32");
  recipe.beta1 = 0.8;
  recipe.beta2 = 0.95;
  recipe.epsilon = 1e-3;
  recipe.weight_decay = 0.3;
  return recipe;
}

/// Three matrices between layers, the second with queries, keys and values of ViT-B/32's eight text heads; an
/// embedding, and a bias, which does not decay.
NamedTensors random_parameters() {
  torch::manual_seed(8);
  NamedTensors parameters = {{"transformer.resblocks.0.mlp.c_fc.weight", torch::randn({8, 4})},
                             {"transformer.resblocks.0.attn.in_proj_weight", torch::randn({48, 6})},
                             {"text_projection", torch::randn({4, 5})},
                             {"token_embedding.weight", torch::randn({7, 4})},
                             {"ln_final.bias", torch::randn({4})}};
  for (auto& [name, parameter] : parameters) parameter.requires_grad_(true);
  return parameters;
}

/// Takes three steps, each with other gradients and another learning rate.
template <class Step>
void take_steps(const NamedTensors& parameters, const Step& step) {
  torch::manual_seed(9);
  for (const double learning_rate : {1e-3, 3e-2, 1e-2}) {
    for (const auto& [name, parameter] : parameters) parameter.mutable_grad() = torch::randn(parameter.sizes());
    step(learning_rate);
  }
}

void expect_equal(const at::Tensor& found, const at::Tensor& expected, const std::string& name) {
  EXPECT_LT((found - expected).abs().max().item<double>(), 1e-6) << name;
}

/// The parameters after the same steps by torch.optim.AdamW, by name.
std::map<std::string, at::Tensor> adamw_of_torch(const Recipe& recipe) {
  const NamedTensors parameters = random_parameters();
  const auto options = torch::optim::AdamWOptions().betas({recipe.beta1, recipe.beta2}).eps(recipe.epsilon);
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const auto& [name, parameter] : parameters) {
    auto own = std::make_unique<torch::optim::AdamWOptions>(options);
    own->weight_decay(name == "ln_final.bias" ? 0 : recipe.weight_decay);
    groups.emplace_back(std::vector{parameter}, std::move(own));
  }
  torch::optim::AdamW optimiser(groups, options);
  take_steps(parameters, [&](double learning_rate) {
    for (auto& group : optimiser.param_groups()) group.options().set_lr(learning_rate);
    optimiser.step();
  });
  return {parameters.begin(), parameters.end()};
}

TEST(Optimiser, StepsAsTorchsAdamW) {
  const Recipe recipe = recipe_of_adamw();
  const NamedTensors parameters = random_parameters();
  Communicator alone;
  Optimiser optimiser(parameters, recipe, alone);
  take_steps(parameters, [&](double learning_rate) { optimiser.step(learning_rate); });
  const auto expected = adamw_of_torch(recipe);
  for (const auto& [name, parameter] : parameters) {
    expect_equal(parameter, expected.at(name), name);
    EXPECT_FALSE(parameter.grad().defined()) << name;
  }
}

/// m ← 0.95·m + 0.05·g, then w ← (1 − r·decay)·w − r·√max(1, rows/columns)·polar(0.95·m + 0.05·g), where r is
/// muon_lr_factor times the learning rate (Jordan et al. 2024, with Nesterov's momentum); AdamW for the rest.
TEST(Optimiser, StepsAsMuonForTheMatricesBetweenLayers) {
  Recipe recipe = recipe_of_adamw();
  recipe.muon = true;
  recipe.muon_lr_factor = 7;
  const NamedTensors parameters = random_parameters(), by_formula = random_parameters();
  Communicator alone;
  Optimiser optimiser(parameters, recipe, alone);
  take_steps(parameters, [&](double learning_rate) { optimiser.step(learning_rate); });

  const torch::NoGradGuard no_gradients;
  std::vector<at::Tensor> momenta = {torch::zeros({8, 4}), torch::zeros({48, 6}), torch::zeros({4, 5})};
  const std::vector<std::int64_t> matrices = {1, 3 * 8, 1};
  take_steps(by_formula, [&](double learning_rate) {
    for (std::size_t i = 0; i < momenta.size(); ++i) {
      at::Tensor weights = by_formula[i].second;
      const auto gradient = weights.grad();
      momenta[i] = 0.95 * momenta[i] + 0.05 * gradient;
      const double rate = 7 * learning_rate;
      auto ahead = 0.95 * momenta[i] + 0.05 * gradient;
      if (i == 2) ahead = ahead.t();  // text_projection, 4 × 5, is in × out
      auto update = muon_update(ahead, matrices[i], torch::kFloat);
      if (i == 2) update = update.t();
      weights.copy_((1 - rate * recipe.weight_decay) * weights - rate * update);
    }
  });
  for (std::size_t i = 0; i < momenta.size(); ++i)
    expect_equal(parameters[i].second, by_formula[i].second, parameters[i].first);
  const auto expected = adamw_of_torch(recipe);
  for (std::size_t i = momenta.size(); i < parameters.size(); ++i)
    expect_equal(parameters[i].second, expected.at(parameters[i].first), parameters[i].first);
}

TEST(Optimiser, KeepsOnlyPartOfTheMomentsWhenSharded) {
  NamedTensors parameters;
  for (const char* name : {"visual.ln_pre.weight", "visual.ln_pre.bias", "ln_final.weight", "ln_final.bias"})
    parameters.emplace_back(name, torch::zeros({1000}, torch::requires_grad()));
  const auto bytes = [&](bool sharded) {
    Recipe recipe = recipe_of_adamw();
    recipe.shard_optimizer = sharded;
    std::array<std::int64_t, 2> of_rank{};
    test::on_ranks(2, [&](Communicator& communicator) {
      const auto rank = static_cast<std::size_t>(communicator.rank());
      of_rank[rank] = test::peak_memory([&] { Optimiser(parameters, recipe, communicator); });
    });
    return of_rank;
  };
  for (const std::int64_t whole : bytes(false)) EXPECT_GE(whole, 2 * 4 * 4000);
  for (const std::int64_t half : bytes(true)) EXPECT_LT(half, 1.1 * 4 * 4000);
}

/// Muon's products round differently with other threads or processors. Other gradients stand for that here.
TEST(Optimiser, KeepsTheWeightsOfAllRanksEqualUnderMuon) {
  Recipe recipe = recipe_of_adamw();
  recipe.muon = true;
  const std::array<NamedTensors, 2> of_rank = {random_parameters(), random_parameters()};
  for (const NamedTensors& parameters : of_rank)
    for (const auto& [name, parameter] : parameters) parameter.mutable_grad() = torch::randn(parameter.sizes());
  test::on_ranks(2, [&](Communicator& communicator) {
    Optimiser(of_rank[static_cast<std::size_t>(communicator.rank())], recipe, communicator).step(1e-2);
  });
  for (std::size_t i = 0; i < of_rank[0].size(); ++i)
    EXPECT_TRUE(at::equal(of_rank[0][i].second, of_rank[1][i].second)) << of_rank[0][i].first;
}

/// The first step of Adam moves every weight by the learning rate, whatever its gradient.
TEST(Optimiser, MultipliesEachParametersRate) {
  Recipe recipe = recipe_of_adamw();
  recipe.weight_decay = 0;
  recipe.epsilon = 1e-12;
  recipe.layer_decay = 0.5;
  recipe.text_lr_factor = 3;
  NamedTensors parameters;
  for (const char* name :
       {"visual.proj", "visual.transformer.resblocks.11.ln_1.weight", "text_projection", "logit_scale"})
    parameters.emplace_back(name, torch::zeros({2, 2}, torch::requires_grad()));
  Communicator alone;
  Optimiser optimiser(parameters, recipe, alone);
  for (auto& [name, parameter] : parameters) parameter.mutable_grad() = torch::full({2, 2}, -7.0);
  optimiser.step(1e-2);
  for (const auto& [index, expected] : {std::pair(0, 1e-2), {1, 5e-3}, {2, 3e-2}, {3, 1e-2}})
    EXPECT_NEAR(parameters[static_cast<std::size_t>(index)].second.max().item<double>(), expected, 1e-8) << index;
}

/// √(3² + 4² + 12²) = 13
TEST(Gradients, AreClippedTogether) {
  for (const auto& [limit, factor] : {std::pair(6.5, 0.5), {13.5, 1.0}, {0.0, 1.0}}) {
    const NamedTensors parameters = {{"a", torch::zeros({2}, torch::requires_grad())},
                                     {"b", torch::zeros({1, 1}, torch::requires_grad())}};
    parameters[0].second.mutable_grad() = torch::tensor({3.f, -4.f});
    parameters[1].second.mutable_grad() = torch::full({1, 1}, 12.f);
    Communicator alone;
    EXPECT_NEAR(clip_gradients(parameters, limit, alone), 13, 1e-5);
    expect_equal(parameters[0].second.grad(), factor * torch::tensor({3.f, -4.f}), "a");
    expect_equal(parameters[1].second.grad(), torch::full({1, 1}, factor * 12), "b");
  }
}

}  // namespace
}  // namespace gondola
