// Embeddings of whole models in every layout, against PyTorch's (tests/reference/models.py).
#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "checkpoint/model_files.h"
#include "engine/cpu_encoder.h"
#include "tests/support/files.h"
#include "tests/support/models.h"

namespace gondola {
namespace {

class Models : public testing::TestWithParam<test::GoldenModel> {};

TEST_P(Models, GivePyTorchsEmbeddings) {
  const test::GoldenModel& golden = GetParam();
  const ModelFiles files = golden.load();
  ThreadPool pool(2);
  const auto encoder = make_cpu_encoder(files.config, files.weights, {}, pool);
  const auto images = golden.images();
  const auto texts = golden.texts();
  std::vector<float> found(images.embeddings.values.size());
  encoder->encode_images(images.pixels.values, found);
  EXPECT_LT(test::largest_error(found, images.embeddings), 1e-5);
  encoder->encode_texts(texts.ids.values, found);
  EXPECT_LT(test::largest_error(found, texts.embeddings), 1e-5);
}

TEST_P(Models, ComputeNothingElseWithEveryToken) {
  const test::GoldenModel& golden = GetParam();
  const ModelFiles files = golden.load();
  const auto images = golden.images();
  const auto texts = golden.texts();
  ThreadPool pool(2);
  const auto encoder = make_cpu_encoder(files.config, files.weights, {}, pool);
  const auto whole = make_cpu_encoder(files.config, files.weights, {.every_token = true}, pool);
  std::vector<float> expected(images.embeddings.values.size()), found(expected.size());
  encoder->encode_images(images.pixels.values, expected);
  whole->encode_images(images.pixels.values, found);
  EXPECT_EQ(found, expected);
  encoder->encode_texts(texts.ids.values, expected);
  whole->encode_texts(texts.ids.values, found);
  EXPECT_EQ(found, expected);
}

TEST_P(Models, StayCloseToPyTorchsInLowPrecision) {
  const test::GoldenModel& golden = GetParam();
  const ModelFiles files = golden.load();
  const auto images = golden.images();
  const auto texts = golden.texts();
  ThreadPool pool(2);
  for (const auto& [precision, least] : {std::pair(Precision::bf16, 0.9999), {Precision::int8, 0.998}}) {
    const auto encoder = make_cpu_encoder(files.config, files.weights, {precision}, pool);
    std::vector<float> found(images.embeddings.values.size());
    encoder->encode_images(images.pixels.values, found);
    EXPECT_GT(test::worst_cosine(found, images.embeddings), least) << name(precision);
    encoder->encode_texts(texts.ids.values, found);
    EXPECT_GT(test::worst_cosine(found, texts.embeddings), least) << name(precision);
  }
}

TEST_P(Models, GiveTheSameBitsWhateverTheBatchAndTheThreads) {
  const test::GoldenModel& golden = GetParam();
  const ModelFiles files = golden.load();
  const auto images = golden.images();
  const auto texts = golden.texts();
  const std::size_t dim = images.embeddings.shape[1], count = images.embeddings.shape[0];
  const auto encode = [&](Precision precision, int threads, std::size_t batch) {
    ThreadPool pool(threads);
    const auto encoder = make_cpu_encoder(files.config, files.weights, {precision}, pool);
    std::vector<float> found(2 * count * dim);
    const std::span<float> all = found;
    const std::size_t pixels = images.pixels.values.size() / count, ids = texts.ids.values.size() / count;
    for (std::size_t i = 0; i < count; i += batch) {
      encoder->encode_images(std::span(images.pixels.values).subspan(i * pixels, batch * pixels),
                             all.subspan(i * dim, batch * dim));
      encoder->encode_texts(std::span(texts.ids.values).subspan(i * ids, batch * ids),
                            all.subspan((count + i) * dim, batch * dim));
    }
    return found;
  };
  for (Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
    const auto reference = encode(precision, 1, 1);
    EXPECT_EQ(encode(precision, 1, 2), reference);
    EXPECT_EQ(encode(precision, 2, 1), reference);
    EXPECT_EQ(encode(precision, 3, 2), reference);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Models, testing::ValuesIn(test::golden_models()),
                         [](const auto& model) { return model.param.name; });

/// `tests/reference/models.py --full DIR` writes models of full size, a gigabyte and a half of them.
TEST(FullModels, GivePyTorchsEmbeddings) {
  const char* folder = std::getenv("GONDOLA_FULL_MODELS");
  if (folder == nullptr)
    GTEST_SKIP() << "needs GONDOLA_FULL_MODELS, a folder that tests/reference/models.py --full wrote";
  const auto models = test::full_models(folder);
  ASSERT_FALSE(models.empty()) << folder;
  for (const test::GoldenModel& golden : models) {
    const ModelFiles files = golden.load();
    ThreadPool pool;
    const auto encoder = make_cpu_encoder(files.config, files.weights, {}, pool);
    const auto images = golden.images();
    const auto texts = golden.texts();
    std::vector<float> found(images.embeddings.values.size());
    encoder->encode_images(images.pixels.values, found);
    const double image_error = test::largest_error(found, images.embeddings);
    encoder->encode_texts(texts.ids.values, found);
    const double text_error = test::largest_error(found, texts.embeddings);
    std::printf("%-24s image %.1e  text %.1e\n", golden.name.c_str(), image_error, text_error);
    EXPECT_LT(image_error, 1e-5) << golden.name;
    EXPECT_LT(text_error, 1e-5) << golden.name;
  }
}

TEST(CpuEncoder, NamesTheWeightThatDoesNotFit) {
  ModelFiles files = test::golden_models().front().load();
  ThreadPool pool(1);
  const auto throws = [&](const TensorMap& weights, const std::string& message) {
    EXPECT_THAT([&] { make_cpu_encoder(files.config, weights, {}, pool); },
                testing::ThrowsMessage<Error>(testing::HasSubstr(message)));
  };
  TensorMap weights = files.weights;
  weights.erase("visual.conv1.weight");
  throws(weights, "visual.conv1.weight");
  weights = files.weights;
  weights["ln_final.weight"] = make_tensor({1}, {1});
  throws(weights, "ln_final.weight");
  weights = files.weights;
  weights["extra"] = make_tensor({1}, {1});
  throws(weights, "extra");
}

}  // namespace
}  // namespace gondola
