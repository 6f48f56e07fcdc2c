#include "train/embedding_norm.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "torch_towers/clip_model.h"

namespace gondola {
namespace {

class EmbeddingNorms : public testing::TestWithParam<const char*> {};

TEST_P(EmbeddingNorms, FoldIntoTheWeights) {
  torch::manual_seed(4);
  const ModelConfig config = preset(GetParam());
  ClipModel model(config);
  model.eval();
  EmbeddingNorm image_norm(config.embed_dim), text_norm(config.embed_dim);
  for (EmbeddingNorm* norm : {&image_norm, &text_norm}) {
    norm->running_mean.normal_(0, 0.3);
    norm->running_var.uniform_(0.2, 3);
    norm->eval();
  }
  const torch::NoGradGuard no_gradients;
  const auto pixels = torch::randn({3, 3, config.image.image_size, config.image.image_size});
  const auto ids = torch::randint(0, config.text.vocab_size, {3, config.text.context_length}, torch::kLong);
  const auto images = image_norm.evaluate(model.encode_images(pixels));
  const auto texts = text_norm.evaluate(model.encode_texts(ids));
  TensorMap weights = model.weights();
  fold_embedding_norms(weights, image_norm, text_norm);
  model.load_weights(weights);
  EXPECT_LT((model.encode_images(pixels) - images).abs().max().item<double>(), 2e-4);
  EXPECT_LT((model.encode_texts(ids) - texts).abs().max().item<double>(), 2e-4);
}

INSTANTIATE_TEST_SUITE_P(Towers, EmbeddingNorms, testing::Values("tiny-test", "tiny-test-resnet"),
                         [](const auto& name) { return std::string(name.param) == "tiny-test" ? "Vit" : "ResNet"; });

TEST(EmbeddingNorm, IsBatchNorm1dWithoutParameters) {
  torch::manual_seed(6);
  EmbeddingNorm norm(4);
  Communicator alone;
  const auto mean = torch::zeros({4}), variance = torch::ones({4});
  const auto batch_norm = [&](const at::Tensor& rows, bool training) {
    return at::batch_norm(rows, {}, {}, mean, variance, training, /*momentum=*/0.1, /*eps=*/1e-5, false);
  };
  for (int step = 0; step < 3; ++step) {
    const auto rows = 2 * torch::randn({6, 4}) + 1, weights = torch::randn({6, 4});
    const auto found = rows.clone().requires_grad_(true), expected = rows.clone().requires_grad_(true);
    const auto out = norm.forward(found, torch::ones({6}), alone), wanted = batch_norm(expected, true);
    EXPECT_TRUE(torch::allclose(out, wanted, 1e-4, 1e-5));
    (out * weights).sum().backward();
    (wanted * weights).sum().backward();
    EXPECT_TRUE(torch::allclose(found.grad(), expected.grad(), 1e-4, 1e-5));
  }
  EXPECT_TRUE(torch::allclose(norm.running_mean, mean, 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(norm.running_var, variance, 1e-5, 1e-6));
  const auto rows = torch::randn({5, 4});
  EXPECT_TRUE(torch::allclose(norm.evaluate(rows), batch_norm(rows, false), 1e-4, 1e-5));
}

TEST(EmbeddingNorm, CountsEveryRepeatOfARow) {
  torch::manual_seed(5);
  const auto rows = torch::randn({3, 4});
  const auto repeats = torch::tensor({1, 3, 2}, torch::kLong);
  EmbeddingNorm weighted(4), plain(4);
  Communicator alone;
  const auto all = rows.repeat_interleave(repeats, 0);
  const auto found = weighted.forward(rows, repeats, alone).repeat_interleave(repeats, 0);
  EXPECT_LT((found - plain.forward(all, torch::ones({6}), alone)).abs().max().item<double>(), 1e-5);
  EXPECT_LT((weighted.running_mean - plain.running_mean).abs().max().item<double>(), 1e-6);
  EXPECT_LT((weighted.running_var - plain.running_var).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace gondola
