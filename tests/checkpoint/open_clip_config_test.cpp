#include "checkpoint/open_clip_config.h"

#include <gmock/gmock.h>

#include <sstream>

#include "base/error.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Json parse(const std::string& text) {
  return parse_json(text, "config");
}

const char* const small = R"({"embed_dim": 64, "vision_cfg": {"layers": 2, "width": 128, "patch_size": 16},
                              "text_cfg": {"width": 128, "heads": 2, "layers": 3}})";

TEST(OpenClipConfig, HasOpenClipsDefaults) {
  const ModelConfig config = read_open_clip_config(parse(small), "small");
  EXPECT_EQ(config.image.image_size, 224);
  EXPECT_EQ(config.image.heads, 2);
  EXPECT_EQ(config.image.mlp_width, 512);
  EXPECT_EQ(config.text.vocab_size, 49408);
  EXPECT_EQ(config.text.end_id, 49407);
  EXPECT_EQ(config.image.activation, Activation::gelu);
  EXPECT_FALSE(config.sigmoid_loss);
}

TEST(OpenClipConfig, RefusesWhatWouldChangeTheResult) {
  const auto refuses = [](const std::string& pointer, const Json& value, const std::string& name) {
    Json json = parse(small);
    json[Json::json_pointer(pointer)] = value;
    EXPECT_THAT([&] { read_open_clip_config(json, "small"); }, ThrowsMessage<Error>(HasSubstr(name))) << pointer;
  };
  refuses("/vision_cfg/timm_model_name", "vit_base", "timm_model_name");
  refuses("/vision_cfg/unheard_of", 0, "unheard_of");
  refuses("/vision_cfg/qk_norm", true, "qk_norm");
  refuses("/vision_cfg/ls_init_value", 1e-4, "ls_init_value");
  refuses("/vision_cfg/pool_type", "none", "pool_type");
  refuses("/vision_cfg/image_size", Json::array({224, 336}), "image_size");
  refuses("/vision_cfg/width", "wide", "width");
  refuses("/vision_cfg/width", 200, "heads");
  refuses("/vision_cfg/layers", -1, "layers");
  refuses("/text_cfg/pool_type", "eos", "eos_id");
  refuses("/text_cfg/hf_model_name", "roberta", "hf_model_name");
  refuses("/text_cfg/act_kwargs", Json{{"approximate", "sigmoid"}}, "act_kwargs");
  refuses("/text_cfg/vocab_size", 1e30, "vocab_size");
  refuses("/text_cfg/tokenizer_kwargs", Json{{"clean", "whitespace"}}, "tokenizer_kwargs");
  refuses("/text_cfg", Json{{"vocab_size", 8192}, {"tokenizer_kwargs", {{"clean", "whitespace"}}}}, "tokenizer_kwargs");
  refuses(
      "/text_cfg",
      Json{{"hf_tokenizer_name", "openai/clip-vit-base-patch32"}, {"tokenizer_kwargs", {{"clean", "canonicalize"}}}},
      "tokenizer_kwargs");
  refuses("/audio_cfg", Json{{"a", 1}}, "audio_cfg");
  EXPECT_THROW(read_open_clip_config(parse("[]"), "list"), Error);
  const Json wide = parse(R"({"embed_dim":1,"vision_cfg":{"layers":[1,1,1,1],"width":2000000000},"text_cfg":{}})");
  EXPECT_THAT([&] { read_open_clip_config(wide, "wide"); }, ThrowsMessage<Error>(HasSubstr("out of range")));
  EXPECT_THROW(read_open_clip_config(parse("{}"), "empty"), Error);
}

TEST(OpenClipConfig, CorruptConfigurationsGiveAnErrorOrAModel) {
  int built = 0;
  for (std::uint64_t i = 0; i < 5000; ++i) {
    try {
      const ModelConfig config = read_open_clip_config(parse(test::mutate(small, i)), "damaged");
      EXPECT_GT(count_parameters(config).total, 0);
      EXPECT_GT(count_forward_flops(config).image, 0);
      ++built;
    } catch (const Error&) {  // expected
    }
  }
  EXPECT_TRUE(built > 20 && built < 5000) << built;
}

TEST(OpenClipConfig, WritesWhatItReads) {
  ModelConfig config = preset("RN50x4-quickgelu");
  EXPECT_EQ(read_open_clip_config(to_open_clip_config(config), config.name).image, config.image);
  EXPECT_EQ(read_open_clip_config(to_open_clip_config(config), config.name).text, config.text);
  config = preset("ViT-L-14");
  config.image.pooling = ImagePooling::average;
  config.image.pre_norm = false;
  config.image.final_norm_after_pooling = true;
  config.image.mlp_width = 2731;
  config.image.activation = config.text.activation = Activation::gelu_tanh;
  config.image.norm_eps = config.text.norm_eps = 1e-6;
  config.text.causal = false;
  config.text.pooling = TextPooling::end_token;
  config.text.end_id = 7;
  config.text.pad_id = 3;
  config.text.projection_bias = true;
  config.sigmoid_loss = true;
  const ModelConfig read = read_open_clip_config(to_open_clip_config(config), config.name);
  EXPECT_EQ(read.image, config.image);
  EXPECT_EQ(read.text, config.text);
  EXPECT_TRUE(read.sigmoid_loss);
}

TEST(OpenClipConfig, ReadsPreprocessing) {
  const PreprocessConfig squash = read_open_clip_preprocess(
      parse(R"({"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "interpolation": "bilinear", "resize_mode": "squash"})"), 99,
      "p");
  EXPECT_EQ(squash.size, 99);
  EXPECT_EQ(squash.resize_mode, ResizeMode::squash);
  EXPECT_EQ(squash.interpolation, Interpolation::bilinear);
  EXPECT_EQ(squash.mean[2], 0.5f);
  EXPECT_EQ(read_open_clip_preprocess(to_open_clip_preprocess(squash), 99, "p"), squash);
  const PreprocessConfig longest =
      read_open_clip_preprocess(parse(R"({"resize_mode": "longest", "fill_color": 127})"), 99, "p");
  EXPECT_EQ(longest.resize_mode, ResizeMode::longest);
  EXPECT_EQ(longest.fill, 127);
  EXPECT_EQ(read_open_clip_preprocess(to_open_clip_preprocess(longest), 99, "p"), longest);
  EXPECT_THROW(read_open_clip_preprocess(parse(R"({"interpolation": "lanczos"})"), 99, "p"), Error);
  EXPECT_THROW(read_open_clip_preprocess(parse(R"({"mean": [0.5]})"), 99, "p"), Error);
}

/// open_clip's own table of costs: model → column → value.
std::map<std::string, std::map<std::string, double>> read_profile(const std::filesystem::path& path) {
  std::map<std::string, std::map<std::string, double>> table;
  std::vector<std::string> header;
  for (const std::string& line : read_lines(path)) {
    std::stringstream cells(line);
    std::vector<std::string> row;
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(cell);
    if (header.empty()) {
      header = row;
    } else {
      for (std::size_t i = 1; i < row.size(); ++i)
        if (!row[i].empty()) table[row[0]][header[i]] = std::stod(row[i]);
    }
  }
  return table;
}

std::optional<ModelConfig> known_preset(const std::string& name) {
  try {
    return preset(name);
  } catch (const Error&) {
    return std::nullopt;
  }
}

TEST(OpenClipConfig, BuildsOrRefusesEveryConfigurationAndCountsAsOpenClipDoes) {
  GONDOLA_NEEDS_TEST_DATA("open_clip-model-configs");
  const Json expected = parse(read_file(test::golden("checkpoint") / "open_clip_configs.json"));
  auto profile = read_profile(test::test_data() / "open_clip-results" / "model_profile.csv");
  int built = 0, compared = 0, presets = 0;
  for (const auto& [name, refused_field] : expected.items()) {
    const auto path = test::test_data() / "open_clip-model-configs" / (name + ".json");
    const Json json = parse_json(read_file(path), path.string());
    if (refused_field.is_string()) {
      EXPECT_THAT([&] { read_open_clip_config(json, name); },
                  ThrowsMessage<Error>(HasSubstr(refused_field.get<std::string>())))
          << name;
      continue;
    }
    ++built;
    const ModelConfig config = read_open_clip_config(json, name);
    if (const auto known = known_preset(name)) {
      ++presets;
      EXPECT_EQ(known->embed_dim, config.embed_dim) << name;
      EXPECT_EQ(known->image, config.image) << name;
      EXPECT_EQ(known->text, config.text) << name;
    }
    if (!profile.contains(name)) continue;
    ++compared;
    auto& row = profile.at(name);
    const ParameterCount parameters = count_parameters(config);
    EXPECT_NEAR(static_cast<double>(parameters.image) / 1e6, row.at("image_mparams"), 0.011) << name;
    EXPECT_NEAR(static_cast<double>(parameters.text) / 1e6, row.at("text_mparams"), 0.011) << name;
    const ForwardFlops flops = count_forward_flops(config);
    // open_clip's count includes BatchNorm and pooling.
    const bool resnet = config.image.architecture == ImageArchitecture::modified_resnet;
    EXPECT_NEAR(flops.image / 1e9, row.at("image_gflops"), (resnet ? 0.06 : 0.02) * row.at("image_gflops")) << name;
    EXPECT_NEAR(flops.text / 1e9, row.at("text_gflops"), 0.02 * row.at("text_gflops")) << name;
  }
  EXPECT_EQ(expected.size(), 181u);
  EXPECT_EQ(presets, 20);
  EXPECT_GT(compared, 30);
  std::printf("%d of 181 are built, %d compared with open_clip's profile\n", built, compared);
}

TEST(OpenClipConfig, RefusesTowersOfDifferentActivations) {
  ModelConfig config = preset("ViT-B-32");
  config.text.activation = Activation::quick_gelu;
  EXPECT_THAT([&] { to_open_clip_config(config); }, ThrowsMessage<Error>(HasSubstr("QuickGELU in both")));
}

TEST(OpenClipConfig, RefusesUnsupportedPreprocessing) {
  const auto read = [](const char* json) { return read_open_clip_preprocess(parse_json(json, "p"), 99, "p"); };
  EXPECT_THAT([&] { read(R"({"mode": "L"})"); }, ThrowsMessage<Error>(HasSubstr("only RGB")));
  EXPECT_THAT([&] { read(R"({"crop_pct": 0.9})"); }, ThrowsMessage<Error>(HasSubstr("crop_pct")));
  EXPECT_EQ(read(R"({"fill_color": 300})").fill, 255);
}

}  // namespace
}  // namespace gondola
