#include "config/model_config.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(ModelConfig, PresetsHaveTheParametersOfOpenAIsModels) {
  const std::pair<const char*, std::int64_t> models[] = {
      {"RN50", 102'007'137},     {"RN101", 119'688'033},    {"RN50x4", 178'300'601},
      {"RN50x16", 290'979'217},  {"RN50x64", 623'258'305},  {"ViT-B-32", 151'277'313},
      {"ViT-B-16", 149'620'737}, {"ViT-L-14", 427'616'513}, {"ViT-L-14-336", 427'944'193}};
  for (const auto& [name, parameters] : models) EXPECT_EQ(count_parameters(preset(name)).total, parameters) << name;
}

TEST(ModelConfig, CountsTheOperationsOfAForwardPass) {
  // open_clip's docs/model_profile.csv.
  const ForwardFlops flops = count_forward_flops(preset("ViT-B-32"));
  EXPECT_NEAR(flops.image / 1e9, 8.82, 0.02 * 8.82);
  EXPECT_NEAR(flops.text / 1e9, 5.96, 0.02 * 5.96);
}

TEST(ModelConfig, PresetsAreValidAndKnowQuickGelu) {
  for (const char* name : {"tiny-test", "tiny-test-resnet", "ViT-H-14"}) EXPECT_NO_THROW(preset(name).validate());
  EXPECT_EQ(preset("ViT-B-32-quickgelu").text.activation, Activation::quick_gelu);
  EXPECT_EQ(preset("ViT-B-32").text.activation, Activation::gelu);
  EXPECT_THAT([] { preset("ViT-Z"); }, ThrowsMessage<Error>(HasSubstr("RN50x64")));
}

TEST(ModelConfig, NamesTheInvalidValue) {
  const auto refuses = [](const auto& change, const std::string& message) {
    ModelConfig config = preset("ViT-B-32");
    change(config);
    EXPECT_THAT([&] { config.validate(); }, ThrowsMessage<Error>(HasSubstr(message)));
  };
  refuses([](ModelConfig& c) { c.image.heads = 7; }, "7 heads");
  refuses([](ModelConfig& c) { c.image.patch_size = 225; }, "patch size");
  refuses([](ModelConfig& c) { c.text.start_id = 49408; }, "start token");
  refuses([](ModelConfig& c) { c.text.end_id = 49408; }, "end token");
  refuses([](ModelConfig& c) { c.text.pad_id = 49408; }, "padding token");
  refuses([](ModelConfig& c) { c.text.heads = 7; }, "text tower of width 512");
  refuses([](ModelConfig& c) { c.text.layers = 1 << 30; }, "layers");
  refuses([](ModelConfig& c) { c.embed_dim = 0; }, "embedding size");
  refuses(
      [](ModelConfig& c) {
        c = preset("RN50");
        c.image.image_size = 225;
      },
      "multiple of 32");
}

/// The last of twelve blocks needs queries, attention, output and MLP for only one token of 77.
TEST(ModelConfig, CountsOnlyTheNeededPartOfTheLastBlock) {
  const ModelConfig config = preset("ViT-B-32");
  EXPECT_NEAR(count_forward_flops(config).text - count_needed_flops(config, 77).text,
              76 * (4.0 * 512 * 512 + 4.0 * 512 * 2048 + 4.0 * 77 * 512), 1);
}

}  // namespace
}  // namespace gondola
