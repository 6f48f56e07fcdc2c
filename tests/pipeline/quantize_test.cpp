#include "pipeline/quantize.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "base/random.h"
#include "checkpoint/quantized_weights.h"
#include "engine/cpu_encoder.h"
#include "tests/support/files.h"
#include "tests/support/models.h"

namespace gondola {
namespace {

/// Noise that differs with the index.
Image square_noise(std::size_t index) {
  Image image;
  image.mode = PixelMode::rgb;
  image.width = image.height = 32;
  Random random(index);
  for (int i = 0; i < 32 * 32 * 3; ++i) image.pixels.push_back(static_cast<std::uint8_t>(random.below(256)));
  return image;
}

class Quantize : public testing::Test {
 protected:
  const ModelFiles model_ = load_model_files((test::golden("cli") / "model").string());
  const ClipTokenizer tokenizer_ = load_tokenizer(model_);
  QuantizeInputs inputs_ = {24, square_noise, &tokenizer_, {}};
  QuantizationReport report_;

  ModelFiles run(const ModelFiles& model, int threads) {
    ThreadPool pool(threads);
    report_ = {};
    return quantize(model, inputs_, pool, report_);
  }
};

TEST_F(Quantize, WritesAFolderThatGivesTheSameBits) {
  ModelFiles quantized = run(model_, 2);
  test::TemporaryFolder folder;
  for (const auto& [name, family] : {std::pair("hf", Family::hugging_face), {"open_clip", Family::open_clip}}) {
    quantized.family = family;
    write_model_folder(folder.path() / name, quantized, &tokenizer_, std::nullopt);
  }
  ThreadPool pool(2);
  std::vector<float> pixels(3 * 32 * 32), expected(16), found(16);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::sin(static_cast<float>(i));
  make_cpu_encoder(quantized.config, quantized.weights, {Precision::int8}, pool)->encode_images(pixels, expected);
  for (const char* name : {"hf", "open_clip"}) {
    const ModelFiles files = load_model_files((folder.path() / name).string());
    EXPECT_EQ(default_precision(files.weights), Precision::int8);
    make_cpu_encoder(files.config, files.weights, {Precision::int8}, pool)->encode_images(pixels, found);
    EXPECT_EQ(found, expected) << name;
  }
}

TEST_F(Quantize, ReportsTheLossOfAccuracy) {
  run(model_, 2);
  EXPECT_EQ(report_.layers.size(), 16u);
  for (const QuantizedLayer& layer : report_.layers) EXPECT_GT(layer.cosine, 0.99) << layer.weight;
  EXPECT_EQ(report_.images.count, 12u);
  EXPECT_GT(report_.images.min, 0.997);
  EXPECT_LT(report_.images.min, 1);
  EXPECT_GE(report_.images.mean, report_.images.min);
  EXPECT_GT(report_.images.min_centred, 0.995);
  EXPECT_GT(report_.texts.min, 0.997);
  EXPECT_GT(report_.agreement, 0.6);
  EXPECT_TRUE(report_.errors.empty());
}

/// The model with an MLP of 3,072 hidden channels, which int8 splits into four blocks. Sixteen of them, and one channel
/// of each first norm, are a hundred times larger than the others.
ModelFiles with_outliers(ModelFiles model) {
  constexpr std::int64_t hidden = 3072;
  Random random(5);
  const auto change = [&](const std::string& name, std::vector<std::int64_t> shape, const auto& value_at) {
    Tensor& tensor = model.weights.at(name);
    std::vector<float> values = to_floats(tensor);
    std::size_t size = 1;
    for (const std::int64_t side : shape) size *= static_cast<std::size_t>(side);
    values.resize(size);
    for (std::size_t i = 0; i < size; ++i) values[i] = value_at(values[i], i);
    tensor = make_tensor(std::move(shape), values);
  };
  for (auto& [tower, layers, width, mlp_width] :
       {std::tuple("visual.", model.config.image.layers, model.config.image.width, &model.config.image.mlp_width),
        std::tuple("", model.config.text.layers, model.config.text.width, &model.config.text.mlp_width)}) {
    *mlp_width = hidden;
    const auto channels = static_cast<std::size_t>(width);
    const auto is_outlier = [](std::size_t channel) { return channel % 192 == 3; };
    const auto noise = [&](double deviation) {
      return static_cast<float>(deviation * random.uniform(-std::sqrt(3.0), std::sqrt(3.0)));
    };
    for (int layer = 0; layer < layers; ++layer) {
      const std::string block = fmt::format("{}transformer.resblocks.{}.", tower, layer);
      for (const char* norm : {"ln_1.weight", "ln_1.bias"})
        change(block + norm, {width}, [&](float old, std::size_t i) { return i == 5 ? 100 * old : old; });
      change(block + "attn.in_proj_weight", {3 * width, width},
             [&](float old, std::size_t i) { return i % channels == 5 ? old / 100 : old; });
      change(block + "mlp.c_fc.weight", {hidden, width}, [&](float, std::size_t i) {
        return noise((is_outlier(i / channels) ? 100 : 1) / std::sqrt(static_cast<double>(width)));
      });
      change(block + "mlp.c_fc.bias", {hidden}, [&](float, std::size_t) { return noise(0.1); });
      change(block + "mlp.c_proj.weight", {width, hidden}, [&](float, std::size_t i) {
        return noise((is_outlier(i % hidden) ? 0.01 : 1) / std::sqrt(static_cast<double>(hidden)));
      });
    }
  }
  return model;
}

TEST_F(Quantize, ToleratesOutliers) {
  const ModelFiles model = with_outliers(model_), quantized = run(model, 2);
  std::vector<float> pixels;
  for (std::size_t i = 0; i < 16 * 3 * 32 * 32; ++i) pixels.push_back(std::sin(static_cast<float>(i * i % 1009)));
  ThreadPool pool(2);
  const auto embed = [&](const ModelFiles& files, Precision precision) {
    std::vector<float> found(16 * 16);
    make_cpu_encoder(files.config, files.weights, {precision}, pool)->encode_images(pixels, found);
    return found;
  };
  const std::vector<float> exact = embed(model, Precision::fp32);
  const EmbeddingCosines calibrated = compare_embeddings(exact, embed(quantized, Precision::int8), 16),
                         uncalibrated = compare_embeddings(exact, embed(model, Precision::int8), 16);
  EXPECT_GT(calibrated.min, 0.995);
  EXPECT_GT(calibrated.min_centred, 0.99);
  EXPECT_GT(report_.texts.min, 0.999);
  EXPECT_LT(uncalibrated.min, calibrated.min);
  for (const QuantizedLayer& layer : report_.layers) {
    const bool reads_hidden = layer.weight.ends_with("c_proj.weight");  // whose inputs are only reordered, not smoothed
    if (layer.weight.starts_with("visual.")) {
      EXPECT_GT(layer.cosine, reads_hidden ? 0.98 : 0.9995) << layer.weight;
    }
  }
}

TEST_F(Quantize, DoesNotDependOnTheThreads) {
  const TensorMap one = run(model_, 1).weights, three = run(model_, 3).weights;
  for (const auto& [name, tensor] : one) EXPECT_TRUE(std::ranges::equal(tensor.bytes, three.at(name).bytes)) << name;
}

TEST_F(Quantize, TakesRandomTokensWithoutAVocabularyAndLeavesAResNetAsItIs) {
  ModelFiles resnet = test::golden_model("resnet_open_clip").load();
  for (auto& [name, tensor] : resnet.weights) tensor = convert(tensor, DType::float32);
  inputs_.tokenizer = nullptr;
  inputs_.load = [](std::size_t index) {
    if (index % 2 == 0) throw Error("calibrates nothing, so it is not read");
    return square_noise(index);
  };
  const ModelFiles quantized = run(resnet, 2);
  EXPECT_TRUE(report_.errors.empty());
  for (const auto& [name, tensor] : resnet.weights)
    if (name.starts_with("visual.")) {
      EXPECT_TRUE(std::ranges::equal(tensor.bytes, quantized.weights.at(name).bytes)) << name;
    }
  EXPECT_TRUE(is_quantized(quantized.weights));
  EXPECT_EQ(report_.images.min, 1);
}

TEST_F(Quantize, RefusesImagesThatBecomeUnreadable) {
  std::atomic<int> loads = 0;
  inputs_.load = [&](std::size_t index) {
    if (index == 7 && ++loads == 2) throw Error("image 7 is gone");
    return square_noise(index);
  };
  EXPECT_THAT([&] { run(model_, 2); }, testing::ThrowsMessage<Error>(testing::HasSubstr("image 7 is gone")));
}

TEST_F(Quantize, RefusesWeightsThatAreNotNumbers) {
  ModelFiles damaged = model_;
  Tensor& bias = damaged.weights.at("visual.ln_post.bias");
  std::vector<float> values = to_floats(bias);
  values[0] = std::nanf("");
  bias = make_tensor(bias.shape, values);
  EXPECT_THAT([&] { run(damaged, 2); }, testing::ThrowsMessage<Error>(testing::HasSubstr("not numbers")));
}

TEST_F(Quantize, NeedsImagesAndForLabelsAVocabulary) {
  inputs_.labels = {"a", "b"};
  inputs_.tokenizer = nullptr;
  EXPECT_THAT([&] { run(model_, 2); }, testing::ThrowsMessage<Error>(testing::HasSubstr("vocabulary")));
  inputs_.images = 0;
  EXPECT_THAT([&] { run(model_, 2); }, testing::ThrowsMessage<Error>(testing::HasSubstr("there are none")));
}

TEST_F(Quantize, GoesOnPastImagesThatCannotBeRead) {
  inputs_.load = [](std::size_t index) {
    if (index % 5 == 0) throw Error("image " + std::to_string(index));
    return square_noise(index);
  };
  run(model_, 2);
  EXPECT_THAT(report_.errors, testing::ElementsAre(testing::Pair(0, "image 0"), testing::Pair(5, "image 5"),
                                                   testing::Pair(10, "image 10"), testing::Pair(15, "image 15"),
                                                   testing::Pair(20, "image 20")));
  inputs_.load = [](std::size_t index) {
    if (index % 2 == 1) throw Error("damaged");
    return square_noise(index);
  };
  EXPECT_THAT([&] { run(model_, 2); }, testing::ThrowsMessage<Error>(testing::StartsWith(
                                           "none of the 12 images for evaluation can be read; the first: damaged")));
}

TEST_F(Quantize, RefusesAnInt8Model) {
  const ModelFiles quantized = run(model_, 1);
  EXPECT_THAT([&] { run(quantized, 1); }, testing::ThrowsMessage<Error>(testing::HasSubstr("int8 already")));
}

TEST(CompareEmbeddings, CentresBothOnTheMeanOfTheExactEmbeddings) {
  // About their mean, directions at 0° and 90° become (±1, ∓1)/2. The second is found at 45°, the direction of the
  // mean, and becomes (√½ − ½)·(1, 1), at a right angle to the expected one.
  const float exact[] = {2, 0, 0, 3}, found[] = {5, 0, 1, 1};
  const EmbeddingCosines cosines = compare_embeddings(exact, found, 2);
  EXPECT_EQ(cosines.count, 2u);
  EXPECT_NEAR(cosines.min, std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(cosines.mean, (1 + std::sqrt(0.5)) / 2, 1e-6);
  EXPECT_NEAR(cosines.min_centred, 0, 1e-6);
  EXPECT_NEAR(cosines.mean_centred, 0.5, 1e-6);
}

}  // namespace
}  // namespace gondola
