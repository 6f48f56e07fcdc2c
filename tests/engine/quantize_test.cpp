// Models in int8: smoothing must not change what a model computes (PyTorch's embeddings of the golden models), and must
// make planted outliers harmless.
#include "engine/quantize.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "checkpoint/model_files.h"
#include "checkpoint/quantized_weights.h"
#include "engine/block_weights.h"
#include "engine/cpu_encoder.h"
#include "engine/linear.h"
#include "tests/support/files.h"
#include "tests/support/models.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

const char* const towers[] = {"visual.", ""};

/// Rewrites every block of a model.
template <class Change>
void change_blocks(ModelFiles& files, const Change& change) {
  for (const std::string tower : towers) {
    const int layers = tower.empty() ? files.config.text.layers : files.config.image.layers;
    for (int layer = 0; layer < layers; ++layer) {
      const std::string prefix = tower + "transformer.resblocks." + std::to_string(layer) + ".";
      BlockWeights block(Weights(files.weights, prefix, is_quantized(files.weights)));
      change(block);
      for (auto& [name, tensor] : block.take_tensors()) files.weights[prefix + name] = tensor;
    }
  }
}

/// Random scales from 1/most to most.
std::vector<float> random_scales(std::uint64_t seed, std::size_t count, double most) {
  Random random(seed);
  std::vector<float> scales(count);
  for (float& scale : scales) scale = static_cast<float>(std::pow(most, random.uniform(-1, 1)));
  return scales;
}

struct Found {
  std::vector<float> images, texts;
};

Found encode(const ModelFiles& files, const test::GoldenModel& golden, const CpuOptions& options) {
  ThreadPool pool(2);
  const auto encoder = make_cpu_encoder(files.config, files.weights, options, pool);
  const auto images = golden.images();
  const auto texts = golden.texts();
  Found found = {std::vector<float>(images.embeddings.values.size()),
                 std::vector<float>(texts.embeddings.values.size())};
  encoder->encode_images(images.pixels.values, found.images);
  encoder->encode_texts(texts.ids.values, found.texts);
  return found;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  const auto dot = [](std::span<const float> x, std::span<const float> y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
}

TEST(BlockWeights, AreRewrittenWithoutChangingTheModel) {
  for (const char* name : {"vit_hf", "vit_custom_text"}) {
    const test::GoldenModel golden = test::golden_model(name);
    ModelFiles files = golden.load();
    change_blocks(files, [](BlockWeights& block) {
      const std::size_t width = block.width(), hidden = block["mlp.c_fc.bias"].size();
      for (const BlockLayer& layer : std::span(block_layers).first(3)) {
        block.shift(layer.weight, layer.bias, random_scales(1, width, 2));
        block.smooth(layer.weight, random_scales(2, width, 3));
      }
      std::vector<std::size_t> order(hidden);
      std::iota(order.rbegin(), order.rend(), std::size_t{0});
      std::swap(order[0], order[3]);
      block.reorder_hidden(order);
    });
    const Found found = encode(files, golden, {});
    EXPECT_LT(test::largest_error(found.images, golden.images().embeddings), 1e-5) << name;
    EXPECT_LT(test::largest_error(found.texts, golden.texts().embeddings), 1e-5) << name;
  }
}

TEST(SmoothingScales, MatchTheSmoothQuantFormula) {
  const float inputs[] = {8, 2, 0}, weight[] = {1, -0.5f, 3, -2, 0.25f, 1};
  EXPECT_THAT(smoothing_scales(inputs, weight, 0.5f),
              testing::ElementsAre(testing::FloatEq(2), testing::FloatEq(2), testing::FloatEq(1)));
  EXPECT_THAT(smoothing_scales(inputs, weight, 0.75f)[0],
              testing::FloatEq(std::pow(8.0f, 0.75f) / std::pow(2.0f, 0.25f)));
}

TEST(QuantizeRow, GivesPyTorchsIntegers) {
  // The same weights, quantised by tests/reference/models.py.
  const TensorMap exact = test::golden_model("vit_hf").load().weights,
                  expected = test::golden_model("vit_hf_int8").load().weights;
  int compared = 0;
  for (const auto& [name, tensor] : expected) {
    if (tensor.type != DType::int8) continue;
    const std::vector<float> values = to_floats(exact.at(name)), integers = to_floats(tensor),
                             scales = to_floats(expected.at(scale_name(name)));
    const std::size_t in = values.size() / scales.size();
    for (std::size_t row = 0; row < scales.size(); ++row) {
      std::vector<std::int8_t> found(in);
      EXPECT_FLOAT_EQ(quantize_row(std::span(values).subspan(row * in, in), found), scales[row]);
      EXPECT_TRUE(std::ranges::equal(found, std::span(integers).subspan(row * in, in))) << name << " " << row;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 15);
}

TEST(Int8, ToleratesOutliersInNormsAndValues) {
  const test::GoldenModel golden = test::golden_model("vit_hf");
  ModelFiles files = golden.load();
  const Found exact = encode(files, golden, {}), usual = encode(files, golden, {Precision::int8});
  change_blocks(files, [](BlockWeights& block) {  // two channels a hundred times larger, one far from zero
    const std::size_t width = block.width();
    for (const BlockLayer& layer : std::span(block_layers).first(3)) {
      std::vector<float> scales(width, 1), centre(width);
      scales[3] = scales[width - 5] = 0.01f;
      centre[7] = 40;
      block.smooth(layer.weight, scales);
      block.shift(layer.weight, layer.bias, centre);
    }
  });
  const Found found = encode(files, golden, {Precision::int8});
  for (const auto member : {&Found::images, &Found::texts}) {
    EXPECT_GT(cosine(exact.*member, found.*member), 0.9995);
    EXPECT_GT(cosine(exact.*member, found.*member), cosine(exact.*member, usual.*member) - 1e-4);
  }
}

TEST(Calibration, DoesNotDependOnTheOrderOfInputs) {
  constexpr std::size_t rows = 700, width = 5;
  std::vector<float> values = random_scales(5, rows * width, 3);
  values[31] = -9;
  LayerInputs forwards, backwards;
  forwards.add(rows, values.data(), width, width);
  for (std::size_t row = rows; row-- > 0;) {
    backwards.add(1, values.data() + row * width, width, width);
    backwards.add(1, values.data() + row * width, width, width);  // the same again counts once
  }
  EXPECT_EQ(forwards.rows(), backwards.rows());
  EXPECT_EQ(forwards.rows().size(), 256 * width);
  const std::vector<float> centre = {0, 1, 0, 0, 0};
  EXPECT_EQ(forwards.max_deviation(centre), backwards.max_deviation(centre));
  EXPECT_EQ(forwards.max_deviation(centre)[1], 10);
}

/// Random images and texts.
struct Inputs {
  std::vector<float> pixels, embeddings;
  std::vector<std::int32_t> ids;
  Inputs(const ModelConfig& config, std::size_t count) {
    Random random(17);
    const auto size = static_cast<std::size_t>(config.image.image_size);
    for (std::size_t i = 0; i < count * 3 * size * size; ++i)
      pixels.push_back(static_cast<float>(random.uniform(-2, 2)));
    const auto context = static_cast<std::size_t>(config.text.context_length);
    for (std::size_t i = 0; i < count * context; ++i)
      ids.push_back(i % context == 9 ? config.text.end_id : static_cast<std::int32_t>(random.below(90)));
    embeddings.resize(count * static_cast<std::size_t>(config.embed_dim));
  }
};

struct Quantized {
  ModelFiles files;
  std::vector<QuantizedLayer> layers;
};

Quantized quantize(const ModelFiles& files) {
  ThreadPool pool(2);
  Calibration calibration;
  Inputs inputs(files.config, 40);
  const auto encoder = make_cpu_encoder(files.config, files.weights, {.calibration = &calibration}, pool);
  encoder->encode_images(inputs.pixels, inputs.embeddings);
  encoder->encode_texts(inputs.ids, inputs.embeddings);
  Quantized result = {files, {}};
  for (const std::string tower : towers) {
    const int layers = tower.empty() ? files.config.text.layers : files.config.image.layers;
    for (QuantizedLayer& layer : quantize_blocks(result.files.weights, tower, layers, calibration, pool))
      result.layers.push_back(layer);
  }
  return result;
}

TEST(QuantizeBlocks, PreservesTheModelsEmbeddings) {
  const test::GoldenModel golden = test::golden_model("vit_hf");
  const ModelFiles files = golden.load();
  const Quantized quantized = quantize(files);
  EXPECT_EQ(quantized.layers.size(), 16u);
  const Found exact = encode(files, golden, {});
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
    const Found found = encode(quantized.files, golden, {precision});
    EXPECT_GT(cosine(exact.images, found.images), 0.999) << name(precision);
    EXPECT_GT(cosine(exact.texts, found.texts), 0.999) << name(precision);
  }
  EXPECT_NE(encode(quantized.files, golden, {Precision::int8}).images,
            encode(quantized.files, golden, {Precision::fp32}).images);
}

TEST(QuantizeBlocks, KeepsInBf16WhatCannotBeSmoothed) {
  ModelFiles files = test::golden_model("vit_hf").load();
  change_blocks(files, [](BlockWeights& block) {
    const std::size_t width = block.width(), hidden = block["mlp.c_fc.bias"].size();
    for (std::size_t i = 0; i < width; ++i) {
      block["mlp.c_fc.weight"][5 * width + i] *= 300;
      block["mlp.c_proj.weight"][i * hidden + 5] /= 300;
    }
  });
  std::set<std::string> kept;
  const Quantized quantized = quantize(files);
  for (const QuantizedLayer& layer : quantized.layers) {
    const DType type = quantized.files.weights.at(layer.weight).type;
    EXPECT_EQ(type, layer.precision == Precision::bf16 ? DType::bfloat16 : DType::int8);
    if (layer.precision == Precision::bf16) kept.insert(layer.weight.substr(layer.weight.find("mlp")));
  }
  EXPECT_THAT(kept, testing::ElementsAre("mlp.c_proj.weight"));
}

TEST(ShiftEmbeddings, MovesThemByTheShift) {
  const test::GoldenModel golden = test::golden_model("vit_hf");
  ModelFiles files = golden.load();
  const auto dim = static_cast<std::size_t>(files.config.embed_dim);
  std::vector<float> shift(dim);
  for (std::size_t i = 0; i < dim; ++i) shift[i] = std::sin(static_cast<float>(i));
  const Found before = encode(files, golden, {});
  shift_embeddings(files.weights, "visual.ln_post.bias", "visual.proj", shift);
  const Found after = encode(files, golden, {});
  for (std::size_t i = 0; i < before.images.size(); ++i)
    EXPECT_NEAR(after.images[i] - before.images[i], shift[i % dim], 5e-3);
  EXPECT_EQ(after.texts, before.texts);
}

TEST(CpuEncoder, NamesTheInt8WeightThatDoesNotFit) {
  const ModelFiles files = test::golden_model("vit_hf_int8").load();
  ThreadPool pool(1);
  const auto throws = [&](const TensorMap& weights, const std::string& message) {
    EXPECT_THAT([&] { make_cpu_encoder(files.config, weights, {}, pool); },
                testing::ThrowsMessage<Error>(testing::HasSubstr(message)));
  };
  const std::string name = "transformer.resblocks.0.mlp.c_fc.weight", scale = name + "_scale";
  TensorMap weights = files.weights;
  weights.erase(scale);
  throws(weights, scale);
  throws(weights, files.config.name + ": ");
  weights = files.weights;
  weights[scale] = make_tensor({1, 1}, std::vector<float>{1});
  throws(weights, scale);
  weights = files.weights;
  weights[name] = make_tensor(weights[name].shape, to_floats(weights[name]));
  throws(weights, scale);  // a scale for an fp32 weight
  weights = files.weights;
  weights["ln_final.weight"] = make_int8_tensor({32}, std::vector<std::int8_t>(32));
  throws(weights, "ln_final.weight");
}

TEST(CpuEncoder, ReadsDamagedInt8FilesOrRefusesThem) {
  const test::GoldenModel golden = test::golden_model("vit_hf_int8");
  test::TemporaryFolder folder;
  std::filesystem::copy(golden.folder / golden.file, folder.path(), std::filesystem::copy_options::recursive);
  const std::string good = read_file(folder.path() / "model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, good.data(), sizeof header);
  int read = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    // Every other one damages only the header, which may leave a readable file.
    const std::size_t cut = i % 2 == 0 ? good.size() : sizeof header + header;
    write_file_atomically(folder.path() / "model.safetensors", test::mutate(good.substr(0, cut), i) + good.substr(cut));
    try {
      const ModelFiles files = load_model_files(folder.path().string());
      encode(files, golden, {Precision::int8});
      ++read;
    } catch (const Error&) {  // expected
    }
  }
  EXPECT_GT(read, 10);
}

}  // namespace
}  // namespace gondola
