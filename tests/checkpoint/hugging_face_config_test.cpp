#include "checkpoint/hugging_face_config.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/json.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Json parse(const char* text) {
  return parse_json(text, "config");
}

/// Those of transformers 5.23's CLIPConfig(): its files may leave out default values.
TEST(HuggingFaceConfig, HasTransformersDefaults) {
  const ModelConfig config = read_hugging_face_config(parse(R"({"model_type": "clip"})"), "c");
  EXPECT_EQ(config.embed_dim, 512);
  EXPECT_EQ(config.image.image_size, 224);
  EXPECT_EQ(config.image.patch_size, 32);
  EXPECT_EQ(config.image.width, 768);
  EXPECT_EQ(config.image.heads, 12);
  EXPECT_EQ(config.image.layers, 12);
  EXPECT_EQ(config.image.mlp_width, 3072);
  EXPECT_EQ(config.image.activation, Activation::quick_gelu);
  EXPECT_EQ(config.image.norm_eps, 1e-5);
  EXPECT_EQ(config.text.context_length, 77);
  EXPECT_EQ(config.text.vocab_size, 49408);
  EXPECT_EQ(config.text.width, 512);
  EXPECT_EQ(config.text.heads, 8);
  EXPECT_EQ(config.text.layers, 12);
  EXPECT_EQ(config.text.mlp_width, 2048);
  EXPECT_EQ(config.text.activation, Activation::quick_gelu);
  EXPECT_EQ(config.text.norm_eps, 1e-5);
  EXPECT_EQ(config.text.pooling, TextPooling::end_token);
  EXPECT_EQ(config.text.end_id, 49407);
  EXPECT_EQ(config.text.start_id, 49406);
}

TEST(HuggingFaceConfig, ReadsNonDefaultValues) {
  const ModelConfig config = read_hugging_face_config(parse(R"({
      "text_config": {"layer_norm_eps": 1e-3, "hidden_act": "gelu", "eos_token_id": 7},
      "vision_config": {"layer_norm_eps": 1e-4, "hidden_act": "gelu_pytorch_tanh"}})"),
                                                      "c");
  EXPECT_EQ(config.text.norm_eps, 1e-3);
  EXPECT_EQ(config.text.activation, Activation::gelu);
  EXPECT_EQ(config.text.pooling, TextPooling::end_token);
  EXPECT_EQ(config.text.end_id, 7);
  EXPECT_EQ(config.image.norm_eps, 1e-4);
  EXPECT_EQ(config.image.activation, Activation::gelu_tanh);
}

/// The model has room for one more token than the vocabulary: padding with the last id would be pooled.
TEST(HuggingFaceConfig, PadsWithAnIdThatIsNotPooled) {
  const ModelConfig config =
      read_hugging_face_config(parse(R"({"text_config": {"eos_token_id": 2, "vocab_size": 49409}})"), "c");
  EXPECT_EQ(config.text.pooling, TextPooling::largest_id);
  EXPECT_EQ(config.text.pad_id, 0);
}

/// Nothing depends on the start token, and transformers reads such files too.
TEST(HuggingFaceConfig, NeedsNoStartTokenInASmallVocabulary) {
  const ModelConfig config =
      read_hugging_face_config(parse(R"({"text_config": {"vocab_size": 99, "eos_token_id": 98}})"), "c");
  EXPECT_EQ(config.text.start_id, 97);
}

/// timm's and diffusers' folders have a config.json as well.
TEST(HuggingFaceConfig, RefusesFilesOfOtherLibraries) {
  for (const char* json : {R"({"architecture": "vit_base_patch32_clip_224", "num_features": 768})",
                           R"({"_class_name": "AutoencoderKL"})", "{}"})
    EXPECT_THAT([&] { read_hugging_face_config(parse(json), "c"); },
                ThrowsMessage<Error>(HasSubstr("it has no model_type")))
        << json;
}

/// As in transformers' CLIPConfig, for the files of 2021.
TEST(HuggingFaceConfig, PrefersTextConfigDictToTextConfig) {
  const ModelConfig config = read_hugging_face_config(
      parse(R"({"text_config": {"num_hidden_layers": 3}, "text_config_dict": {"num_hidden_layers": 4}})"), "c");
  EXPECT_EQ(config.text.layers, 4);
}

PreprocessConfig preprocess(const char* json) {
  return read_hugging_face_preprocess(parse(json), 32, "p");
}

TEST(HuggingFacePreprocess, SquashesWhenHeightAndWidthAreGiven) {
  for (const char* json : {R"({"size": {"height": 32, "width": 32}, "do_center_crop": false})",
                           R"({"size": {"height": 32, "width": 32}, "crop_size": {"height": 32, "width": 32}})"}) {
    EXPECT_EQ(preprocess(json).resize_mode, ResizeMode::squash) << json;
    EXPECT_EQ(read_hugging_face_preprocess(to_hugging_face_preprocess(preprocess(json)), 32, "p"), preprocess(json));
  }
  EXPECT_EQ(preprocess(R"({"size": {"shortest_edge": 32}})").resize_mode, ResizeMode::shortest);
  EXPECT_EQ(preprocess(R"({"size": 32, "crop_size": 32})").resize_mode, ResizeMode::shortest);
}

TEST(HuggingFacePreprocess, ReadsPillowsResamplingNumbers) {
  EXPECT_EQ(preprocess(R"({"resample": 0})").interpolation, Interpolation::nearest);
  EXPECT_EQ(preprocess(R"({"resample": 2})").interpolation, Interpolation::bilinear);
  EXPECT_EQ(preprocess(R"({})").interpolation, Interpolation::bicubic);
}

TEST(HuggingFacePreprocess, RefusesWhatWouldChangeTheResult) {
  const std::pair<const char*, const char*> refused[] = {
      {R"({"size": {"height": 32, "width": 40}})", "squares"},
      {R"({"size": {"shortest_edge": 40}})", "40 pixels"},
      {R"({"size": {"shortest_edge": 32}, "crop_size": 24})", "crops them to 24"},
      {R"({"size": {"shortest_edge": 32}, "do_center_crop": false})", "do_center_crop"},
      {R"({"resample": 1})", "resample"},
      {R"({"rescale_factor": 0.0078125})", "rescale_factor"},
      {R"({"image_processor_type": "ViTImageProcessor", "size": 32})", "image_processor_type"},
      {R"({"feature_extractor_type": "ViTFeatureExtractor", "size": 32})", "feature_extractor_type"},
      {R"({"do_pad": true})", "do_pad"},
      {R"({"do_resize": false})", "do_resize"},
      {R"({"do_rescale": false})", "do_rescale"},
      {R"({"do_normalize": false})", "do_normalize"}};
  for (const auto& [json, why] : refused)
    EXPECT_THAT([&] { preprocess(json); }, ThrowsMessage<Error>(HasSubstr(why))) << json;
}

/// transformers would give other answers.
TEST(HuggingFaceConfig, RefusesFeaturesThatTransformersLacks) {
  const auto refuses = [](const auto& change, const char* why) {
    ModelConfig config = preset("ViT-B-32-quickgelu");
    change(config);
    EXPECT_THAT([&] { to_hugging_face_config(config); }, ThrowsMessage<Error>(HasSubstr(why))) << why;
  };
  refuses([](ModelConfig& c) { c.image.pre_norm = false; }, "first LayerNorm");
  refuses([](ModelConfig& c) { c.image.pooling = ImagePooling::average; }, "average pooling");
  refuses([](ModelConfig& c) { c.sigmoid_loss = true; }, "logit bias");
  refuses([](ModelConfig& c) { c.text.causal = false; }, "causal mask");
  refuses([](ModelConfig& c) { c.text.projection_bias = true; }, "projection with a bias");
  refuses([](ModelConfig& c) { c.text.pooling = TextPooling::last; }, "text pooling");
  refuses([](ModelConfig& c) { c.text.end_id = 7; }, "text pooling");
  refuses([](ModelConfig& c) { c.text.pooling = TextPooling::end_token, c.text.end_id = 2; }, "id 2");
}

}  // namespace
}  // namespace gondola
