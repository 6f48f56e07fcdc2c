#include "checkpoint/quantized_weights.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/model_files.h"
#include "tests/support/files.h"
#include "tests/support/models.h"

namespace gondola {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(QuantizedWeights, AreIntegersTimesTheScaleOfTheirRow) {
  TensorMap weights;
  weights["w"] = make_int8_tensor({2, 3}, {1, -2, 127, -128, 0, 4});
  weights["w_scale"] = make_tensor({2, 1}, {0.5f, 0.25f});
  weights["b"] = make_tensor({1}, std::vector<float>{7});
  EXPECT_TRUE(is_quantized(weights));
  const TensorMap exact = dequantize(weights);
  EXPECT_THAT(to_floats(exact.at("w")), ElementsAre(0.5f, -1.0f, 63.5f, -32.0f, 0.0f, 1.0f));
  EXPECT_EQ(exact.at("w").shape, weights.at("w").shape);
  EXPECT_EQ(exact.size(), 2u);
  EXPECT_FALSE(is_quantized(exact));
}

TEST(QuantizedWeights, NeedMatchingScales) {
  TensorMap weights;
  weights["w"] = make_int8_tensor({2, 3}, {1, -2, 127, -128, 0, 4});
  const auto throws = [&](const std::string& message) {
    EXPECT_THAT([&] { dequantize(weights); }, ThrowsMessage<Error>(HasSubstr(message)));
  };
  throws("no w_scale");
  weights["w_scale"] = make_tensor({2}, std::vector<float>{1, 1});
  throws("[2, 1]");
  weights["w_scale"] = make_tensor({3, 1}, {1, 1, 1});
  throws("[2, 1]");
  weights["w_scale"] = convert(make_tensor({2, 1}, std::vector<float>{1, 1}), DType::bfloat16);
  throws("float32");
  weights["w"] = make_int8_tensor({6}, {1, -2, 127, -128, 0, 4});
  throws("[6]");
}

class QuantizedFolder : public testing::Test {
 protected:
  static ModelFiles model() { return load_model_files((test::golden("models") / "vit_hf_int8").string()); }
  /// A copy of the model with `from` replaced by `to` in its configuration.
  std::string edited(const std::string& from, const std::string& to) {
    std::filesystem::copy(test::golden("models") / "vit_hf_int8", folder_.path() / "edited");
    std::string text = read_file(folder_.path() / "edited" / "config.json");
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos);
    std::ofstream(folder_.path() / "edited" / "config.json") << text.replace(at, from.size(), to);
    return (folder_.path() / "edited").string();
  }
  test::TemporaryFolder folder_;
};

TEST_F(QuantizedFolder, IsWrittenAsItWasRead) {
  ModelFiles read = model();
  for (const auto& [name, family] : {std::pair("hf", Family::hugging_face), {"open_clip", Family::open_clip}}) {
    read.family = family;
    write_model_folder(folder_.path() / name, read, nullptr, std::nullopt);
    const ModelFiles again = load_model_files((folder_.path() / name).string());
    ASSERT_EQ(again.weights.size(), read.weights.size());
    for (const auto& [weight, tensor] : read.weights) {
      EXPECT_EQ(again.weights.at(weight).type, tensor.type) << weight;
      EXPECT_EQ(again.weights.at(weight).shape, tensor.shape) << weight;
      EXPECT_TRUE(std::ranges::equal(again.weights.at(weight).bytes, tensor.bytes)) << weight;
    }
  }
  // The configuration written here says the same about each layer as the reference's.
  const auto config = [](const std::filesystem::path& folder) {
    return Json::parse(read_file(folder / "config.json")).at("quantization_config");
  };
  const Json found = config(folder_.path() / "hf"), expected = config(test::golden("models") / "vit_hf_int8");
  EXPECT_EQ(found.at("config_groups"), expected.at("config_groups"));
  EXPECT_EQ(found.at("format"), expected.at("format"));
  EXPECT_THAT(found.at("ignore").get<std::vector<std::string>>(),
              testing::UnorderedElementsAreArray(expected.at("ignore").get<std::vector<std::string>>()));
}

TEST_F(QuantizedFolder, RefusesOtherQuantizationFormats) {
  EXPECT_THAT([&] { load_model_files(edited("\"int-quantized\"", "\"pack-quantized\"")); },
              ThrowsMessage<Error>(HasSubstr("pack-quantized")));
}

}  // namespace
}  // namespace gondola
