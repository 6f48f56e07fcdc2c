// The libtorch towers as the program loads them, on the CPU, compared with the CPU engine: texts, images and files.
#include "pipeline/device_encoder.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "engine/cpu_encoder.h"
#include "pipeline/embed.h"
#include "tests/support/models.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class DeviceEncoder : public testing::TestWithParam<test::GoldenModel> {
 protected:
#ifndef GONDOLA_WITH_TRAIN
  void SetUp() override {
    GTEST_SKIP() << "needs a build with PyTorch";
  }
#endif
};

TEST_P(DeviceEncoder, AgreesWithPyTorchAndTheEngine) {
  const ModelFiles files = GetParam().load();
  auto images = GetParam().images();
  auto texts = GetParam().texts();
  std::vector<float> of_images(images.embeddings.values.size()), of_texts(texts.embeddings.values.size());
  const auto encode = [&](Precision precision) {
    const auto encoder = load_torch_encoder("cpu", files.config, files.weights, precision);
    encoder->encode_images(images.pixels.values, of_images);
    encoder->encode_texts(texts.ids.values, of_texts);
  };
  encode(Precision::fp32);
  EXPECT_LT(test::largest_error(of_images, images.embeddings), 1e-5);
  EXPECT_LT(test::largest_error(of_texts, texts.embeddings), 1e-5);
  encode(Precision::bf16);
  EXPECT_GT(test::worst_cosine(of_images, images.embeddings), 0.9999);
  EXPECT_GT(test::worst_cosine(of_texts, texts.embeddings), 0.9999);
}

/// Decoding threads hand over their images concurrently.
TEST_P(DeviceEncoder, TakesImagesFromSeveralThreads) {
  const ModelFiles files = GetParam().load();
  const auto encoder = load_torch_encoder("cpu", files.config, files.weights, Precision::fp32);
  ThreadPool pool(3);
  const auto engine = make_cpu_encoder(files.config, files.weights, {}, pool);
  constexpr std::size_t count = 200;
  const auto load = [](std::size_t index) {
    Image image;
    image.width = image.height = 8;
    image.pixels.resize(3 * 8 * 8);
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = static_cast<std::uint8_t>(index * 7 + i * i);
    return image;
  };
  std::vector<std::vector<float>> found(count), expected(count);
  const auto into = [](auto& all) {
    return [&all](const ImageEmbedding& one) { all[one.index].assign(one.values.begin(), one.values.end()); };
  };
  embed_images({*encoder, pool, files.preprocess}, count, load, into(found));
  embed_images({*engine, pool, files.preprocess}, count, load, into(expected));
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(found[i].size(), expected[i].size()) << i;
    EXPECT_GT(test::worst_cosine(found[i], expected[i], found[i].size()), 0.99999) << i;
  }
}

TEST_P(DeviceEncoder, RefusesInt8AndMissingDevices) {
  const ModelFiles files = GetParam().load();
  const auto load = [&](const char* device, Precision precision) {
    return [&files, device, precision] { load_torch_encoder(device, files.config, files.weights, precision); };
  };
  EXPECT_THAT(load("cpu", Precision::int8), ThrowsMessage<Error>(HasSubstr("int8 is computed on the CPU alone")));
  EXPECT_THAT(load("cuda:99", Precision::bf16), ThrowsMessage<Error>(HasSubstr("device cuda:99")));
}

INSTANTIATE_TEST_SUITE_P(Golden, DeviceEncoder, testing::ValuesIn(test::golden_models()),
                         [](const auto& model) { return model.param.name; });

}  // namespace
}  // namespace gondola
