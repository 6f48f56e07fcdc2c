// The libtorch towers against the engine and PyTorch, on the same checkpoints.
#include <gtest/gtest.h>
#include <torch/types.h>

#include "checkpoint/quantized_weights.h"
#include "engine/cpu_encoder.h"
#include "tests/support/models.h"
#include "torch_towers/clip_model.h"

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

TEST(TextTower, GivesEachOfABatchWhatItGivesItAlone) {
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

/// A transformer without positions' order: the patches that are kept give what an image of theirs alone would.
TEST(VisionTransformer, SeesTheKeptPatchesAlone) {
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
