// Muon's update against PyTorch's singular value decomposition.
#include "train/muon.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace gondola {
namespace {

/// `update` in the basis of `momentum`'s singular vectors: diagonal if they share them.
at::Tensor in_singular_directions(const at::Tensor& update, const at::Tensor& momentum) {
  const auto [left, values, right] = at::linalg_svd(momentum, /*full_matrices=*/false, {});
  return left.t().matmul(update).matmul(right.t());
}

void expect_about_orthogonal(const at::Tensor& update, const at::Tensor& momentum) {
  const auto turned = in_singular_directions(update, momentum);
  const auto values = turned.diagonal();
  EXPECT_GT(values.min().item<double>(), 0.6);
  EXPECT_LT(values.max().item<double>(), 1.3);
  EXPECT_LT((turned - values.diag()).abs().max().item<double>(), 1e-3);
}

TEST(Muon, KeepsSingularVectorsAndEvensOutTheValues) {
  torch::manual_seed(4);
  const auto wide = torch::randn({24, 40});
  expect_about_orthogonal(muon_update(wide, 1, torch::kFloat), wide);
  const auto tall = torch::randn({60, 15});
  expect_about_orthogonal(muon_update(tall, 1, torch::kFloat) / 2, tall);  // √(60 / 15)
  const auto convolution = torch::randn({8, 4, 3, 3});
  expect_about_orthogonal(muon_update(convolution, 1, torch::kFloat).view({8, 36}), convolution.view({8, 36}));
}

/// Expects the iteration's values in fp64; one step earlier, the small one is at 0.41.
TEST(Muon, EvensOutSingularValuesThatAreFarApart) {
  torch::manual_seed(6);
  const auto [left, values, right] = at::linalg_svd(torch::randn({2, 2}), /*full_matrices=*/false, {});
  const auto momentum = left.matmul(torch::tensor({1.f, 3e-3f}).diag()).matmul(right);
  const auto turned = in_singular_directions(muon_update(momentum, 1, torch::kFloat), momentum);
  EXPECT_NEAR(turned[0][0].item<double>(), 0.69644, 1e-3);
  EXPECT_NEAR(turned[1][1].item<double>(), 1.11036, 1e-3);
}

TEST(Muon, UpdatesStackedMatricesSeparately) {
  torch::manual_seed(5);
  const auto momentum = torch::randn({48, 32});
  const auto update = muon_update(momentum, 3, torch::kFloat);
  for (int part = 0; part < 3; ++part)
    expect_about_orthogonal(update.narrow(0, 16 * part, 16), momentum.narrow(0, 16 * part, 16));
}

TEST(Muon, HeadsHaveTheirOwnMatrices) {
  ModelConfig model;
  model.image.heads = 4;
  model.text.heads = 2;
  EXPECT_EQ(matrix_count("visual.transformer.resblocks.0.attn.in_proj_weight", model), 12);
  EXPECT_EQ(matrix_count("transformer.resblocks.0.attn.in_proj_weight", model), 6);
  EXPECT_EQ(matrix_count("transformer.resblocks.0.attn.out_proj.weight", model), 1);
  EXPECT_EQ(matrix_count("visual.attnpool.k_proj.weight", model), 4);
  EXPECT_EQ(matrix_count("visual.attnpool.c_proj.weight", model), 1);
}

TEST(Muon, IsForMatricesBetweenLayers) {
  const auto matrix = torch::zeros({4, 4});
  EXPECT_TRUE(uses_muon("visual.layer1.0.conv2.weight", torch::zeros({4, 4, 3, 3})));
  EXPECT_TRUE(uses_muon("text_projection", matrix));
  EXPECT_FALSE(uses_muon("token_embedding.weight", matrix));
  EXPECT_FALSE(uses_muon("visual.attnpool.positional_embedding", matrix));
  EXPECT_FALSE(uses_muon("ln_final.weight", torch::zeros({4})));
}

}  // namespace
}  // namespace gondola
