#include "checkpoint/open_clip_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "checkpoint/fields.h"

namespace gondola {
namespace {

constexpr const char* custom_block = "custom attention blocks are not supported";
constexpr int default_head_width = 64;
constexpr double default_mlp_ratio = 4;
constexpr double default_norm_eps = 1e-5;

// open_clip's names, indexed by TextPooling and ResizeMode; the first is the default.
constexpr std::array<const char*, 4> poolings = {"argmax", "eos", "last", "first"};
constexpr std::array<const char*, 3> resize_modes = {"shortest", "longest", "squash"};

/// The enumerator that a field names.
template <class Enum, std::size_t count>
Enum read_choice(const Fields& fields, const char* key, const std::array<const char*, count>& names) {
  const auto found = std::ranges::find(names, fields.string(key, names.front()));
  if (found == names.end()) fields.refuse(key, fmt::format("none of {}", fmt::join(names, ", ")));
  return static_cast<Enum>(found - names.begin());
}

/// Refuses the settings of the custom attention block, which both towers share.
void refuse_custom_blocks(const Fields& fields) {
  if (fields.string("block_type", "default") != "default") fields.refuse("block_type", custom_block);
  fields.refuse_set({"qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"},
                    custom_block);
  fields.refuse_set({"ls_init_value"}, "layer scale is not supported");
}

Activation read_activation(const Fields& fields, bool quick_gelu) {
  if (!fields.has("act_kwargs")) return quick_gelu ? Activation::quick_gelu : Activation::gelu;
  const Fields arguments = fields.object("act_kwargs");
  const std::string approximate = arguments.string("approximate", "none");
  arguments.refuse_unknown();
  if (quick_gelu || (approximate != "none" && approximate != "tanh"))
    fields.refuse("act_kwargs", "not an approximation of GELU that open_clip knows");
  return approximate == "tanh" ? Activation::gelu_tanh : Activation::gelu;
}

double read_norm_eps(const Fields& fields) {
  if (!fields.has("norm_kwargs")) return default_norm_eps;
  const Fields arguments = fields.object("norm_kwargs");
  const double eps = arguments.number("eps", default_norm_eps);
  arguments.refuse_unknown();
  return eps;
}

int read_mlp_width(const Fields& fields, int width) {
  const double mlp_width = width * fields.number("mlp_ratio", default_mlp_ratio);
  if (!(mlp_width >= 1 && mlp_width <= 1 << 20)) fields.refuse("mlp_ratio", "out of range");
  return static_cast<int>(mlp_width);
}

int read_image_size(const Fields& fields) {
  if (!fields.has("image_size") || !fields["image_size"].is_array()) return fields.integer("image_size", 224);
  const Json& size = fields["image_size"];
  if (size.size() != 2 || size[0] != size[1] || !size[0].is_number_integer() || size[0] < 0 || size[0] > 1 << 14)
    fields.refuse("image_size", "only square images are supported");
  return size[0].get<int>();
}

void read_vit(const Fields& fields, ImageTowerConfig& image) {
  image.layers = fields.integer("layers", 12);
  image.patch_size = fields.integer("patch_size", 16);
  image.mlp_width = read_mlp_width(fields, image.width);
  image.norm_eps = read_norm_eps(fields);
  image.pre_norm = !fields.boolean("no_ln_pre", false);
  image.final_norm_after_pooling = fields.boolean("final_ln_after_pool", false);
  const std::string pooling = fields.string("pool_type", "tok");
  if (pooling != "tok" && pooling != "avg") fields.refuse("pool_type", "neither \"tok\" nor \"avg\"");
  image.pooling = pooling == "avg" ? ImagePooling::average : ImagePooling::class_token;
}

void read_resnet(const Fields& fields, ImageTowerConfig& image) {
  const Json& layers = fields["layers"];
  if (layers.size() != image.stage_blocks.size()) fields.refuse("layers", "a ModifiedResNet has four stages");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!layers[i].is_number_integer() || layers[i] < 0 || layers[i] > 256)
      fields.refuse("layers", "not a number of blocks");
    image.stage_blocks[i] = layers[i].get<int>();
  }
  image.architecture = ImageArchitecture::modified_resnet;
  // A ViT's.
  fields.ignore({"patch_size", "mlp_ratio", "norm_kwargs", "no_ln_pre", "final_ln_after_pool", "pool_type"});
}

ImageTowerConfig read_image_tower(const Fields& fields, bool quick_gelu) {
  if (fields.has("timm_model_name")) fields.refuse("timm_model_name", "image towers of timm are not supported");
  fields.refuse_set({"attentional_pool"}, "attentional pooling is not supported");
  fields.refuse_set({"output_tokens"}, "towers that return all tokens (CoCa) are not supported");
  fields.refuse_set({"input_patchnorm"}, "patch normalisation is not supported");
  fields.refuse_set({"global_average_pool"}, "an old form of pool_type");
  refuse_custom_blocks(fields);
  // Only for training, for towers refused above, or (the kind of position embedding) evident from the weights.
  fields.ignore({"image_seq_len", "patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "pos_embed_type",
                 "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path",
                 "timm_model_kwargs"});
  ImageTowerConfig image;
  image.image_size = read_image_size(fields);
  image.width = fields.integer("width", 768);
  image.activation = read_activation(fields, quick_gelu);
  const bool resnet = fields.has("layers") && fields["layers"].is_array();
  if (resnet) {
    read_resnet(fields, image);
  } else {
    read_vit(fields, image);
  }
  const int head_width = fields.integer("head_width", default_head_width);
  if (head_width < 1) fields.refuse("head_width", "out of range");
  constexpr int widest = 1 << 16;
  if (image.width > widest) fields.refuse("width", "out of range");
  image.heads = (resnet ? image.width * 32 : image.width) / head_width;
  fields.refuse_unknown();
  return image;
}

TextTowerConfig read_text_tower(const Fields& fields, bool quick_gelu) {
  if (fields.has("hf_model_name")) fields.refuse("hf_model_name", "text towers of transformers are not supported");
  if (fields.string("text_arch", "clip") != "clip") fields.refuse("text_arch", "this text tower is not supported");
  fields.refuse_set({"embed_cls", "output_tokens"}, "towers that return all tokens (CoCa) are not supported");
  fields.refuse_set({"variable_text"}, "texts of variable length are not supported");
  fields.refuse_set({"final_ln_after_pool"}, "not supported in a text tower");
  if (fields.string("proj_type", "linear") != "linear") fields.refuse("proj_type", "only \"linear\" is supported");
  refuse_custom_blocks(fields);
  // The first three choose a tokenizer, whose vocabulary is looked up independently of the towers; the others are for
  // text towers refused above.
  fields.ignore({"tokenizer_mode", "tokenizer_type", "tiktoken_name", "hf_model_pretrained", "hf_proj_type",
                 "hf_pooler_type", "hf_model_config"});
  const int vocab_size = fields.integer("vocab_size", openai_vocab_size);
  const bool of_transformers = !fields.string("hf_tokenizer_name", "").empty();  // lower-cases by itself
  const bool of_others = of_transformers && vocab_size != openai_vocab_size;     // such as BERT's, which is not built
  if (fields.has("tokenizer_kwargs") && !of_others) {
    const std::string clean = fields.object("tokenizer_kwargs").string("clean", "lower");
    if (clean != "lower" && !(of_transformers && clean == "whitespace"))
      fields.refuse("tokenizer_kwargs", "only \"lower\" is supported for cleaning texts");
  }
  TextTowerConfig text;
  text.context_length = fields.integer("context_length", 77);
  text.vocab_size = vocab_size;
  text.width = fields.integer("width", 512);
  text.heads = fields.integer("heads", 8);
  text.layers = fields.integer("layers", 12);
  text.mlp_width = read_mlp_width(fields, text.width);
  text.activation = read_activation(fields, quick_gelu);
  text.norm_eps = read_norm_eps(fields);
  text.causal = !fields.boolean("no_causal_mask", false);
  text.pooling = read_choice<TextPooling>(fields, "pool_type", poolings);
  if (text.pooling == TextPooling::end_token && !fields.has("eos_id"))
    fields.refuse("pool_type", "needs eos_id, the end token's id");
  text.end_id = fields.integer("eos_id", text.vocab_size - 1);
  text.start_id = fields.integer("bos_id", std::max(text.vocab_size - 2, 0));
  text.pad_id = fields.integer("pad_id", 0);
  text.projection_bias = fields.boolean("proj_bias", false);
  fields.refuse_unknown();
  return text;
}

/// A ratio from which open_clip, which truncates width × ratio, gets mlp_width back.
double mlp_ratio(int mlp_width, int width) {
  double ratio = static_cast<double>(mlp_width) / width;
  if (static_cast<int>(width * ratio) != mlp_width) ratio = std::nextafter(ratio, HUGE_VAL);
  return ratio;
}

template <class Tower>
void add_common_fields(nlohmann::ordered_json& json, const Tower& tower, bool quick_gelu, const std::string& name) {
  if (tower.mlp_width != tower.width * 4) json["mlp_ratio"] = mlp_ratio(tower.mlp_width, tower.width);
  if (tower.norm_eps != default_norm_eps) json["norm_kwargs"] = {{"eps", tower.norm_eps}};
  if (tower.activation == Activation::gelu_tanh) json["act_kwargs"] = {{"approximate", "tanh"}};
  if ((tower.activation == Activation::quick_gelu) != quick_gelu)
    fail("model {}: open_clip has QuickGELU in both towers or in none", name);
}

nlohmann::ordered_json image_tower_json(const ImageTowerConfig& image, bool quick_gelu, const std::string& name) {
  nlohmann::ordered_json json;
  json["image_size"] = image.image_size;
  const bool resnet = image.architecture == ImageArchitecture::modified_resnet;
  if (resnet) {
    json["layers"] = image.stage_blocks;
  } else {
    json["layers"] = image.layers;
  }
  json["width"] = image.width;
  if (!resnet) json["patch_size"] = image.patch_size;
  const int head_width = image.feature_width() / image.heads;
  if (head_width != default_head_width) json["head_width"] = head_width;
  if (resnet) return json;
  add_common_fields(json, image, quick_gelu, name);
  if (!image.pre_norm) json["no_ln_pre"] = true;
  if (image.pooling == ImagePooling::average) json["pool_type"] = "avg";
  if (image.final_norm_after_pooling) json["final_ln_after_pool"] = true;
  return json;
}

nlohmann::ordered_json text_tower_json(const TextTowerConfig& text, bool quick_gelu, const std::string& name) {
  nlohmann::ordered_json json = {{"context_length", text.context_length},
                                 {"vocab_size", text.vocab_size},
                                 {"width", text.width},
                                 {"heads", text.heads},
                                 {"layers", text.layers}};
  add_common_fields(json, text, quick_gelu, name);
  if (!text.causal) json["no_causal_mask"] = true;
  if (text.pooling != TextPooling::largest_id) json["pool_type"] = poolings[static_cast<std::size_t>(text.pooling)];
  if (text.end_id != text.vocab_size - 1 || text.pooling == TextPooling::end_token) json["eos_id"] = text.end_id;
  if (text.pad_id != 0) json["pad_id"] = text.pad_id;
  if (text.projection_bias) json["proj_bias"] = true;
  return json;
}

}  // namespace

ModelConfig read_open_clip_config(const Json& json, const std::string& origin) {
  const Fields fields(json, origin);
  for (const char* key : {"audio_cfg", "audio_naflex_cfg"})
    if (fields.has(key)) fields.refuse(key, "audio towers are not supported");
  for (const char* key : {"multimodal_cfg", "genlip_cfg", "genlap_cfg"})
    if (fields.has(key)) fields.refuse(key, "models that generate text are not supported");
  fields.refuse_set({"nonscalar_logit_scale"}, "a logit scale for each class is not supported");
  // A custom_text model keeps its text tower under "text."; the weights' names show that. The others only matter in
  // training.
  fields.ignore({"custom_text", "init_logit_scale", "output_dict"});
  ModelConfig config;
  config.name = origin;
  const bool quick_gelu = fields.boolean("quick_gelu", false);
  config.embed_dim = fields.integer("embed_dim", 512);
  config.image = read_image_tower(fields.object("vision_cfg"), quick_gelu);
  config.text = read_text_tower(fields.object("text_cfg"), quick_gelu);
  config.sigmoid_loss = fields.has("init_logit_bias");
  fields.refuse_unknown();
  config.validate();
  return config;
}

nlohmann::ordered_json to_open_clip_config(const ModelConfig& config) {
  const bool quick_gelu = config.text.activation == Activation::quick_gelu;
  nlohmann::ordered_json json = {{"embed_dim", config.embed_dim}};
  if (quick_gelu) json["quick_gelu"] = true;
  if (config.sigmoid_loss) json["init_logit_bias"] = -10;  // arXiv 2303.15343; the weights hold the trained one
  json["vision_cfg"] = image_tower_json(config.image, quick_gelu, config.name);
  json["text_cfg"] = text_tower_json(config.text, quick_gelu, config.name);
  return json;
}

PreprocessConfig read_open_clip_preprocess(const Json& json, int image_size, const std::string& origin) {
  PreprocessConfig preprocess;
  preprocess.size = image_size;
  if (json.is_null()) return preprocess;
  const Fields fields(json, origin + ": preprocess_cfg");
  if (fields.string("mode", "RGB") != "RGB") fields.refuse("mode", "only RGB is supported");
  preprocess.mean = fields.channels("mean", preprocess.mean);
  preprocess.std = fields.standard_deviations("std", preprocess.std);
  const std::string interpolation = fields.string("interpolation", "bicubic");
  if (interpolation != "bicubic" && interpolation != "bilinear")
    fields.refuse("interpolation", "neither \"bicubic\" nor \"bilinear\"");
  preprocess.interpolation = interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
  preprocess.resize_mode = read_choice<ResizeMode>(fields, "resize_mode", resize_modes);
  preprocess.fill = static_cast<std::uint8_t>(std::min(fields.integer("fill_color", 0), 255));
  fields.ignore({"size"});  // the tower's
  fields.refuse_unknown();
  return preprocess;
}

nlohmann::ordered_json to_open_clip_preprocess(const PreprocessConfig& config) {
  nlohmann::ordered_json json = {{"mean", config.mean}, {"std", config.std}};
  if (config.interpolation == Interpolation::nearest) fail("open_clip does not resize to the nearest pixel");
  json["interpolation"] = config.interpolation == Interpolation::bicubic ? "bicubic" : "bilinear";
  json["resize_mode"] = resize_modes[static_cast<std::size_t>(config.resize_mode)];
  if (config.fill != 0) json["fill_color"] = config.fill;
  return json;
}

}  // namespace gondola
