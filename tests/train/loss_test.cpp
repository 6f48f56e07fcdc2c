#include "train/loss.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "torch_towers/clip_model.h"
#include "torch_towers/tensors.h"
#include "train/embedding_norm.h"

namespace gondola {
namespace {

using torch::Tensor;

struct Pairs {
  Tensor images, texts, caption, logit_scale;
};

/// Seven images, four distinct texts of which one stands three times and one twice.
Pairs random_pairs() {
  torch::manual_seed(3);
  const auto unit = [](const Tensor& x) { return x / x.norm(2, 1, true); };
  return {unit(torch::randn({7, 5}, torch::kDouble)), unit(torch::randn({4, 5}, torch::kDouble)),
          torch::tensor({0, 1, 2, 1, 3, 1, 2}, torch::kLong), torch::tensor(1.3, torch::kDouble)};
}

/// The definition: cross-entropy over the n × n matrix of all pairs, from both sides.
Tensor naive_loss(const Pairs& pairs, bool soft_targets) {
  const auto texts = pairs.texts.index_select(0, pairs.caption);
  const auto logits = pairs.logit_scale.exp() * torch::matmul(pairs.images, texts.t());
  auto target = torch::eye(7, torch::kDouble);
  if (soft_targets) target = (pairs.caption.unsqueeze(1) == pairs.caption.unsqueeze(0)).to(torch::kDouble);
  target = target / target.sum(1, true);
  const auto cross_entropy = [&](const Tensor& x) { return -(target * x.log_softmax(1)).sum() / 7; };
  return (cross_entropy(logits) + cross_entropy(logits.t())) / 2;
}

double loss_of(const Pairs& pairs, bool soft_targets) {
  return contrastive_loss(pairs.images, pairs.texts, pairs.caption, pairs.logit_scale, soft_targets).item<double>();
}

class ContrastiveLoss : public testing::TestWithParam<bool> {};

TEST_P(ContrastiveLoss, IsTheCrossEntropyOverAllPairs) {
  const Pairs pairs = random_pairs();
  EXPECT_NEAR(loss_of(pairs, GetParam()), naive_loss(pairs, GetParam()).item<double>(), 1e-12);
}

TEST_P(ContrastiveLoss, HasTheGradientsOfFiniteDifferences) {
  Pairs pairs = random_pairs();
  for (Tensor* input : {&pairs.images, &pairs.texts, &pairs.logit_scale}) input->requires_grad_(true);
  contrastive_loss(pairs.images, pairs.texts, pairs.caption, pairs.logit_scale, GetParam()).backward();
  const torch::NoGradGuard no_gradients;
  constexpr double h = 1e-6;
  for (Tensor* input : {&pairs.images, &pairs.texts, &pairs.logit_scale}) {
    auto values = input->view(-1);
    const auto gradients = input->grad().view(-1);
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      const double value = values[i].item<double>();
      values[i] = value + h;
      const double above = loss_of(pairs, GetParam());
      values[i] = value - h;
      const double below = loss_of(pairs, GetParam());
      values[i] = value;
      EXPECT_NEAR(gradients[i].item<double>(), (above - below) / (2 * h), 1e-8);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ContrastiveLoss, testing::Bool(),
                         [](const auto& soft) { return soft.param ? "Soft" : "Hard"; });

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
  const auto images = image_norm.forward(model.encode_images(pixels), {});
  const auto texts = text_norm.forward(model.encode_texts(ids), {});
  TensorMap weights = model.weights();
  fold_embedding_norms(weights, image_norm, text_norm);
  model.load_weights(weights);
  EXPECT_LT((model.encode_images(pixels) - images).abs().max().item<double>(), 2e-4);
  EXPECT_LT((model.encode_texts(ids) - texts).abs().max().item<double>(), 2e-4);
}

INSTANTIATE_TEST_SUITE_P(Towers, EmbeddingNorms, testing::Values("tiny-test", "tiny-test-resnet"),
                         [](const auto& name) { return std::string(name.param) == "tiny-test" ? "Vit" : "ResNet"; });

TEST(EmbeddingNorm, CountsEveryRepeatOfARow) {
  torch::manual_seed(5);
  const auto rows = torch::randn({3, 4});
  const auto repeats = torch::tensor({1, 3, 2}, torch::kLong);
  EmbeddingNorm weighted(4), plain(4);
  const auto all = rows.repeat_interleave(repeats, 0);
  const auto found = weighted.forward(rows, repeats).repeat_interleave(repeats, 0);
  EXPECT_LT((found - plain.forward(all, torch::ones({6}))).abs().max().item<double>(), 1e-5);
  EXPECT_LT((weighted.running_mean - plain.running_mean).abs().max().item<double>(), 1e-6);
  EXPECT_LT((weighted.running_var - plain.running_var).abs().max().item<double>(), 1e-6);
}

}  // namespace
}  // namespace gondola
