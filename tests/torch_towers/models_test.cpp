// The libtorch towers, compared with the engine and PyTorch on the same checkpoints.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "checkpoint/quantized_weights.h"
#include "engine/cpu_encoder.h"
#include "tests/support/models.h"
#include "torch_towers/clip_model.h"
#include "torch_towers/transformer.h"

namespace gondola {
namespace {

template <class T>
torch::Tensor to_tensor(const test::NpyArray<T>& array) {
  const std::vector<std::int64_t> shape(array.shape.begin(), array.shape.end());
  return torch::tensor(array.values).view(shape);
}

std::vector<float> to_vector(const torch::Tensor& values) {
  const auto rows = values.contiguous();
  return {rows.const_data_ptr<float>(), rows.const_data_ptr<float>() + rows.numel()};
}

class TorchTowers : public testing::TestWithParam<test::GoldenModel> {};

TEST_P(TorchTowers, AgreeWithTheEngineAndWithPyTorch) {
  const test::GoldenModel& golden = GetParam();
  ModelFiles files = golden.load();
  files.weights = dequantize(files.weights);  // as the trainer does
  ClipModel model(files.config);
  model.load_weights(files.weights);
  model.eval();
  const torch::NoGradGuard no_gradients;
  auto images = golden.images();
  auto texts = golden.texts();
  const auto image_embeddings = to_vector(model.encode_images(to_tensor(images.pixels)));
  const auto text_embeddings = to_vector(model.encode_texts(to_tensor(texts.ids).to(torch::kLong)));
  EXPECT_LT(test::largest_error(image_embeddings, images.embeddings), 1e-5);
  EXPECT_LT(test::largest_error(text_embeddings, texts.embeddings), 1e-5);

  ThreadPool pool(1);
  const auto encoder = make_cpu_encoder(files.config, files.weights, {}, pool);
  encoder->encode_images(images.pixels.values, images.embeddings.values);
  encoder->encode_texts(texts.ids.values, texts.embeddings.values);
  EXPECT_LT(test::largest_error(image_embeddings, images.embeddings), 1e-5);
  EXPECT_LT(test::largest_error(text_embeddings, texts.embeddings), 1e-5);
}

TEST_P(TorchTowers, GiveBackTheWeightsTheyLoaded) {
  ModelFiles files = GetParam().load();
  files.weights = dequantize(files.weights);
  std::erase_if(files.weights, [](const auto& item) { return item.first.ends_with(".num_batches_tracked"); });
  ClipModel model(files.config);
  model.load_weights(files.weights);
  const TensorMap weights = model.weights();
  ASSERT_EQ(weights.size(), files.weights.size());
  for (const auto& [name, tensor] : files.weights) {
    EXPECT_EQ(weights.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(to_floats(weights.at(name)), to_floats(tensor)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, TorchTowers, testing::ValuesIn(test::golden_models()),
                         [](const auto& model) { return model.param.name; });

TEST(TextTower, EncodesEachTextOfABatchAsIfAlone) {
  torch::manual_seed(3);
  ClipModel model(preset("tiny-test"));
  model.eval();
  const torch::NoGradGuard no_gradients;
  const TextTowerConfig& text = model.config().text;
  const auto ids = torch::randint(1, text.start_id, {70, text.context_length}, torch::kLong);
  for (std::int64_t row = 0; row < ids.size(0); ++row)
    ids[row].slice(0, 1 + row * 7 % (text.context_length - 1)).fill_(text.end_id);
  const auto together = model.encode_texts(ids);
  for (std::int64_t row = 0; row < ids.size(0); ++row) {
    const auto alone = model.encode_texts(ids.slice(0, row, row + 1))[0];
    EXPECT_LT((together[row] - alone).abs().max().item<double>(), 1e-5 * alone.norm().item<double>()) << row;
  }
}

/// QuickGELU has its own backward pass; the oracle is PyTorch's for the same formula.
TEST(Transformer, BackpropagatesThroughQuickGelu) {
  torch::manual_seed(4);
  Mlp mlp(6, 12, Activation::quick_gelu);
  mlp->to(torch::kDouble);
  const auto x = torch::randn({5, 6}, torch::kDouble), weights = torch::randn({5, 6}, torch::kDouble);
  const auto own = torch::autograd::grad({(mlp(x) * weights).sum()}, mlp->parameters());
  const auto hidden = mlp->c_fc(x);
  const auto oracle = mlp->c_proj(hidden * torch::sigmoid(1.702 * hidden));
  const auto expected = torch::autograd::grad({(oracle * weights).sum()}, mlp->parameters());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(own[i].allclose(expected[i], 1e-10, 1e-12)) << i;
}

/// The initial weights of OpenAI's and open_clip's models (clip/model.py, initialize_parameters; PyTorch's defaults for
/// a ViT's blocks).
TEST(ClipModel, StartsFromOpenAIsInitialDistributions) {
  torch::manual_seed(5);
  ModelConfig config = preset("tiny-test");
  config.image.width = config.text.width = 128;
  config.image.heads = config.text.heads = 2;
  config.image.mlp_width = config.text.mlp_width = 512;
  config.image.layers = config.text.layers = 3;
  config.image.image_size = 160;
  config.embed_dim = 96;
  const auto begins = [](const ClipModel& model, const std::string& name, double deviation) {
    const auto values = model.named_parameters()[name].detach();
    const double tolerance = 3 / std::sqrt(2.0 * static_cast<double>(values.numel()));
    EXPECT_NEAR(values.std().item<double>() / deviation, 1, tolerance) << name;
    EXPECT_NEAR(values.mean().item<double>() / deviation, 0, 2 * tolerance) << name;
  };
  const ClipModel model(config);
  const double of_width = 1 / std::sqrt(128.0), uniform = 1 / std::sqrt(3.0);  // the deviation of U(-1, 1)
  begins(model, "token_embedding.weight", 0.02);
  begins(model, "positional_embedding", 0.01);
  begins(model, "text_projection", of_width);
  begins(model, "visual.class_embedding", of_width);
  begins(model, "visual.positional_embedding", of_width);
  begins(model, "visual.proj", of_width);
  begins(model, "visual.conv1.weight", uniform / std::sqrt(3.0 * 8 * 8));
  for (const char* block : {"0", "2"}) {
    const std::string text = fmt::format("transformer.resblocks.{}.", block), image = "visual." + text;
    begins(model, text + "attn.in_proj_weight", of_width);
    begins(model, text + "attn.out_proj.weight", of_width / std::sqrt(2.0 * 3));
    begins(model, text + "mlp.c_fc.weight", 1 / std::sqrt(2.0 * 128));
    begins(model, text + "mlp.c_proj.weight", of_width / std::sqrt(2.0 * 3));
    begins(model, image + "attn.in_proj_weight", uniform * std::sqrt(6 / (128 + 3.0 * 128)));
    begins(model, image + "attn.out_proj.weight", uniform * of_width);
    begins(model, image + "mlp.c_fc.weight", uniform * of_width);
    begins(model, image + "mlp.c_proj.weight", uniform / std::sqrt(512.0));
    EXPECT_EQ(model.named_parameters()[image + "attn.in_proj_bias"].abs().max().item<double>(), 0);
  }
  EXPECT_NEAR(model.logit_scale.item<double>(), 2.6593, 1e-4);
  EXPECT_FALSE(model.logit_bias.defined());

  config.sigmoid_loss = true;  // arXiv 2303.15343, 3.2
  const ClipModel sigmoid(config);
  EXPECT_NEAR(sigmoid.logit_scale.item<double>(), 2.302585, 1e-5);
  EXPECT_EQ(sigmoid.logit_bias.item<double>(), -10);

  config.image = preset("RN50").image;
  config.image.stage_blocks = {1, 1, 1, 1};
  const ClipModel resnet(config);
  for (const char* projection : {"q", "k", "v", "c"})
    begins(resnet, fmt::format("visual.attnpool.{}_proj.weight", projection), 1 / std::sqrt(2048.0));
  for (int layer = 1; layer <= 4; ++layer) {
    const auto scale = resnet.named_parameters()[fmt::format("visual.layer{}.0.bn3.weight", layer)];
    EXPECT_EQ(scale.abs().max().item<double>(), 0) << layer;
  }
}

/// Keeping all patches changes nothing, and a patch that no image keeps has no effect.
TEST(VisionTransformer, SeesOnlyTheKeptPatches) {
  torch::manual_seed(2);
  ClipModel model(preset("tiny-test"));
  model.eval();
  const torch::NoGradGuard no_gradients;
  const auto pixels = torch::randn({2, 3, 32, 32});
  const auto all = torch::arange(16, torch::kLong).expand({2, -1});
  EXPECT_TRUE(model.encode_images(pixels, all).allclose(model.encode_images(pixels), 1e-5, 1e-6));
  const auto kept = torch::tensor({{0, 5, 6}, {1, 2, 15}}, torch::kLong);
  auto changed = pixels.clone();
  changed.index_put_({torch::indexing::Slice(), torch::indexing::Slice(), torch::indexing::Slice(0, 8),
                      torch::indexing::Slice(24, 32)},
                     7);  // patch 3, which neither keeps
  EXPECT_TRUE(model.encode_images(changed, kept).equal(model.encode_images(pixels, kept)));
  EXPECT_FALSE(model.encode_images(changed, kept).allclose(model.encode_images(changed), 1e-3, 1e-3));
}

}  // namespace
}  // namespace gondola
