// Embeddings of whole models in every layout, compared with PyTorch's (tests/reference/models.py).
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/random.h"
#include "checkpoint/model_files.h"
#include "engine/calibration.h"
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

TEST_P(Models, GiveTheSameEmbeddingsWhenComputingEveryToken) {
  const test::GoldenModel& golden = GetParam();
  const ModelFiles files = golden.load();
  const auto images = golden.images();
  const auto texts = golden.texts();
  ThreadPool pool(2);
  const auto encoder = make_cpu_encoder(files.config, files.weights, {}, pool);
  const auto whole = make_cpu_encoder(files.config, files.weights, {.every_token = true}, pool);
  const auto embeddings = [&](Encoder& with) {
    std::vector<float> found(images.embeddings.values.size() + texts.embeddings.values.size(), std::nanf(""));
    const std::span<float> all = found;
    with.encode_images(images.pixels.values, all.first(images.embeddings.values.size()));
    with.encode_texts(texts.ids.values, all.subspan(images.embeddings.values.size()));
    return found;
  };
  EXPECT_EQ(embeddings(*whole), embeddings(*encoder));
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

/// The MLP's depth has several blocks, which share cache lines with their neighbours.
TEST(WideModels, GiveTheSameBitsWhateverTheBatchAndTheThreads) {
  constexpr int mlp_width = 1500;
  ModelFiles files = load_model_files((test::golden("models") / "vit_open_clip").string());
  files.config.image.mlp_width = files.config.text.mlp_width = mlp_width;
  Random random(1);
  for (auto& [name, tensor] : files.weights) {
    if (name.find(".mlp.") == std::string::npos || name.ends_with("c_proj.bias")) continue;
    tensor.shape[name.ends_with("c_proj.weight") ? 1 : 0] = mlp_width;
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    for (float& value : values) value = static_cast<float>(random.uniform(-0.2, 0.2));
    tensor = make_tensor(tensor.shape, std::move(values));
  }
  constexpr std::size_t count = 5;
  std::vector<float> pixels(count * 3 * 32 * 32);
  for (float& value : pixels) value = static_cast<float>(random.uniform(-1, 1));
  const auto encode = [&](Precision precision, int threads, std::size_t batch) {
    ThreadPool pool(threads);
    const auto encoder = make_cpu_encoder(files.config, files.weights, {precision}, pool);
    std::vector<float> found(count * static_cast<std::size_t>(files.config.embed_dim), std::nanf(""));
    for (std::size_t i = 0; i < count; i += batch)
      encoder->encode_images(std::span(pixels).subspan(i * pixels.size() / count, batch * pixels.size() / count),
                             std::span(found).subspan(i * found.size() / count, batch * found.size() / count));
    return found;
  };
  const auto exact = encode(Precision::fp32, 1, count);
  for (Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
    const auto reference = encode(precision, 1, count);
    double error = 0, whole = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += (reference[i] - exact[i]) * (reference[i] - exact[i]);
      whole += exact[i] * exact[i];
    }
    EXPECT_LT(error, 0.05 * 0.05 * whole) << name(precision);
    EXPECT_EQ(encode(precision, 1, 1), reference);
    EXPECT_EQ(encode(precision, 2, 1), reference);
    EXPECT_EQ(encode(precision, 2, count), reference);
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

/// A damaged weight, wherever it is, must not become a plausible embedding.
TEST(CpuEncoder, PropagatesNanInEveryPrecision) {
  const test::GoldenModel golden = test::golden_model("vit_open_clip");
  const auto pixels = golden.images().pixels;
  for (const char* weight : {"ln_1.weight", "ln_2.bias", "attn.in_proj_bias", "mlp.c_fc.bias", "mlp.c_proj.bias"}) {
    ModelFiles files = golden.load();
    const std::string name = std::string("visual.transformer.resblocks.0.") + weight;
    std::vector<float> values = to_floats(files.weights.at(name));
    values.back() = std::nanf("");
    files.weights[name] = make_tensor(files.weights.at(name).shape, values);
    ThreadPool pool(1);
    for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
      const auto encoder = make_cpu_encoder(files.config, files.weights, {precision}, pool);
      std::vector<float> found(golden.images().embeddings.values.size());
      encoder->encode_images(pixels.values, found);
      EXPECT_TRUE(std::ranges::all_of(found, [](float x) { return std::isnan(x); }))
          << name << gondola::name(precision);
    }
  }
}

TEST(CpuEncoder, RefusesInputsThatDoNotFit) {
  const test::GoldenModel golden = test::golden_models().front();
  const ModelFiles files = golden.load();
  ThreadPool pool(1);
  Calibration calibration;
  EXPECT_THROW(make_cpu_encoder(files.config, files.weights, {Precision::int8, false, &calibration}, pool), Error);
  const auto encoder = make_cpu_encoder(files.config, files.weights, {}, pool);
  const auto dim = static_cast<std::size_t>(files.config.embed_dim);
  std::vector<float> pixels(std::size_t{3} * 32 * 32), embedding(dim), too_small(dim - 1);
  EXPECT_THROW(encoder->encode_images(std::span(pixels).first(pixels.size() - 1), embedding), Error);
  EXPECT_THROW(encoder->encode_images(pixels, too_small), Error);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(files.config.text.context_length), files.config.text.end_id);
  EXPECT_NO_THROW(encoder->encode_texts(ids, embedding));
  EXPECT_THROW(encoder->encode_texts(ids, too_small), Error);
  for (const std::int32_t id : {-1, files.config.text.vocab_size}) {
    ids[0] = id;
    EXPECT_THAT([&] { encoder->encode_texts(ids, embedding); },
                testing::ThrowsMessage<Error>(testing::HasSubstr("not in the vocabulary")));
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
