#include "checkpoint/hugging_face_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "checkpoint/fields.h"

namespace gondola {
namespace {

/// Pillow's filter numbers, indexed by Interpolation.
constexpr std::array<int, 3> resample_numbers = {0, 2, 3};

/// eos_token_id of old transformers configurations, whose texts are pooled at the largest id (transformers PR 24773).
constexpr int legacy_end_id = 2;

Activation read_activation(const Fields& fields) {
  const std::string name = fields.string("hidden_act", "quick_gelu");
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") return Activation::gelu_tanh;
  fields.refuse("hidden_act", "none of \"quick_gelu\", \"gelu\" and \"gelu_pytorch_tanh\"");
}

constexpr const char* activation_names[] = {"gelu", "gelu_pytorch_tanh", "quick_gelu"};  // by Activation

/// Returns "text_config" or "vision_config"; the older "text_config_dict" or "vision_config_dict" takes precedence.
Json tower_object(const Json& json, const std::string& name) {
  for (const std::string& key : {name + "_dict", name})
    if (json.contains(key) && !json.at(key).is_null()) return json.at(key);
  return Json::object();
}

/// Refuses other formats. Which weights are int8 is seen from the weights themselves.
void check_quantization(const Fields& fields) {
  const std::pair<const char*, const char*> known[] = {{"quant_method", "compressed-tensors"},
                                                       {"format", "int-quantized"}};
  for (const auto& [key, value] : known)
    if (fields.string(key, "") != value)
      fields.refuse(key, "only int8 weights of compressed-tensors (\"int-quantized\") are supported");
}

ImageTowerConfig read_image_tower(const Fields& fields) {
  if (fields.integer("num_channels", 3) != 3) fields.refuse("num_channels", "only RGB is supported");
  ImageTowerConfig image;
  image.image_size = fields.integer("image_size", 224);
  image.patch_size = fields.integer("patch_size", 32);
  image.width = fields.integer("hidden_size", 768);
  image.heads = fields.integer("num_attention_heads", 12);
  image.layers = fields.integer("num_hidden_layers", 12);
  image.mlp_width = fields.integer("intermediate_size", 3072);
  image.activation = read_activation(fields);
  image.norm_eps = fields.number("layer_norm_eps", 1e-5);
  return image;
}

TextTowerConfig read_text_tower(const Fields& fields) {
  TextTowerConfig text;
  text.context_length = fields.integer("max_position_embeddings", 77);
  text.vocab_size = fields.integer("vocab_size", openai_vocab_size);
  text.width = fields.integer("hidden_size", 512);
  text.heads = fields.integer("num_attention_heads", 8);
  text.layers = fields.integer("num_hidden_layers", 12);
  text.mlp_width = fields.integer("intermediate_size", 2048);
  text.activation = read_activation(fields);
  text.norm_eps = fields.number("layer_norm_eps", 1e-5);
  const int end_id = fields.integer("eos_token_id", 49407);
  if (end_id == legacy_end_id) {
    text.pooling = TextPooling::largest_id;
    text.end_id = text.vocab_size - 1;
    text.start_id = text.vocab_size - 2;
  } else {
    text.pooling = TextPooling::end_token;
    text.end_id = end_id;
    text.start_id = fields.integer("bos_token_id", std::min(49406, text.vocab_size - 2));
    text.pad_id = end_id;  // as transformers pads; above it stays 0, as vocab_size − 1 may lie outside the vocabulary
  }
  return text;
}

template <class Tower>
nlohmann::ordered_json tower_json(const Tower& tower, const char* model_type, int embed_dim) {
  return {{"model_type", model_type},
          {"hidden_size", tower.width},
          {"intermediate_size", tower.mlp_width},
          {"num_hidden_layers", tower.layers},
          {"num_attention_heads", tower.heads},
          {"hidden_act", activation_names[static_cast<std::size_t>(tower.activation)]},
          {"layer_norm_eps", tower.norm_eps},
          {"projection_dim", embed_dim}};
}

/// A size as transformers writes it: an integer, {"height": h, "width": w} or {"shortest_edge": s}.
struct Size {
  int edge = 0;
  bool squash = false;
};

Size read_size(const Fields& fields, const char* key, int fallback) {
  if (!fields.has(key)) return {fallback, false};
  if (!fields[key].is_object()) return {fields.integer(key, fallback), false};
  const Fields size = fields.object(key);
  if (size.has("shortest_edge")) return {size.integer("shortest_edge", fallback), false};
  const int height = size.integer("height", 0), width = size.integer("width", 0);
  if (height != width || height == 0) fields.refuse(key, "only squares are supported");
  return {height, true};
}

}  // namespace

ModelConfig read_hugging_face_config(const Json& json, const std::string& origin) {
  const Fields fields(json, origin);
  // Such as timm's or diffusers' config.json, of which CLIPConfig's defaults would make a model.
  if (!fields.has("model_type") && !fields.has("text_config") && !fields.has("vision_config"))
    fail("{}: not the configuration of transformers' CLIPModel: it has no model_type", origin);
  if (fields.string("model_type", "clip") != "clip") fields.refuse("model_type", "only \"clip\" is supported");
  if (fields.has("quantization_config")) check_quantization(fields.object("quantization_config"));
  const Json image = tower_object(json, "vision_config"), text = tower_object(json, "text_config");
  ModelConfig config;
  config.name = origin;
  config.embed_dim = fields.integer("projection_dim", 512);
  config.image = read_image_tower(Fields(image, origin + ": vision_config"));
  config.text = read_text_tower(Fields(text, origin + ": text_config"));
  config.validate();
  return config;
}

nlohmann::ordered_json to_hugging_face_config(const ModelConfig& config) {
  const ImageTowerConfig& image = config.image;
  const TextTowerConfig& text = config.text;
  const auto refuse = [&](const char* what) {
    fail("{}: transformers' CLIPModel has no {}; open_clip's layout (gondola convert --to open_clip) holds it",
         config.name, what);
  };
  if (image.architecture != ImageArchitecture::vit) refuse("ModifiedResNet");
  if (!image.pre_norm) refuse("image tower without the first LayerNorm");
  if (image.pooling != ImagePooling::class_token) refuse("average pooling");
  if (config.sigmoid_loss) refuse("logit bias");
  if (!text.causal) refuse("text tower without a causal mask");
  if (text.projection_bias) refuse("text projection with a bias");
  const bool ends_largest = text.pooling == TextPooling::largest_id && text.end_id == text.vocab_size - 1;
  if (!ends_largest && text.pooling != TextPooling::end_token) refuse("such text pooling");
  if (text.end_id == legacy_end_id) refuse("end token of id 2");
  nlohmann::ordered_json text_config = tower_json(text, "clip_text_model", config.embed_dim);
  text_config["max_position_embeddings"] = text.context_length;
  text_config["vocab_size"] = text.vocab_size;
  text_config["bos_token_id"] = text.start_id;
  text_config["eos_token_id"] = text.end_id;
  text_config["pad_token_id"] = text.pad_id;
  nlohmann::ordered_json vision_config = tower_json(image, "clip_vision_model", config.embed_dim);
  vision_config["image_size"] = image.image_size;
  vision_config["patch_size"] = image.patch_size;
  vision_config["num_channels"] = 3;
  return {{"architectures", {"CLIPModel"}},
          {"model_type", "clip"},
          {"projection_dim", config.embed_dim},
          {"text_config", text_config},
          {"vision_config", vision_config}};
}

PreprocessConfig read_hugging_face_preprocess(const Json& json, int image_size, const std::string& origin) {
  PreprocessConfig preprocess;
  preprocess.library = PreprocessLibrary::transformers;
  preprocess.size = image_size;
  const Fields fields(json, origin);
  const char* kind = fields.has("image_processor_type") ? "image_processor_type" : "feature_extractor_type";
  const std::string processor = fields.string(kind, "CLIPImageProcessor");  // or CLIPImageProcessorFast
  if (!processor.starts_with("CLIPImageProcessor") && processor != "CLIPFeatureExtractor")
    fields.refuse(kind, "only CLIP's is supported: others have other defaults");
  fields.refuse_set({"do_pad"}, "padding is not supported");
  for (const char* key : {"do_resize", "do_rescale", "do_normalize"})
    if (!fields.boolean(key, true)) fields.refuse(key, "preprocessing without this step is not supported");
  const Size size = read_size(fields, "size", image_size);
  const bool crops = fields.boolean("do_center_crop", true);
  const int result = crops ? read_size(fields, "crop_size", size.edge).edge : size.edge;
  if (size.edge != image_size || result != image_size)
    fail("{}: resizes images to {} pixels{}, but the model takes {}", origin, size.edge,
         crops ? fmt::format(" and crops them to {}", result) : "", image_size);
  if (!crops && !size.squash) fields.refuse("do_center_crop", "images that are not square are not supported");
  preprocess.resize_mode = size.squash ? ResizeMode::squash : ResizeMode::shortest;
  const auto resample = std::ranges::find(resample_numbers, fields.integer("resample", 3));
  if (resample == resample_numbers.end())
    fields.refuse("resample", "neither 0 (nearest), 2 (bilinear) nor 3 (bicubic)");
  preprocess.interpolation = static_cast<Interpolation>(resample - resample_numbers.begin());
  if (std::abs(fields.number("rescale_factor", 1.0 / 255) - 1.0 / 255) > 1e-12)
    fields.refuse("rescale_factor", "only 1/255 is supported");
  preprocess.mean = fields.channels("image_mean", preprocess.mean);
  preprocess.std = fields.standard_deviations("image_std", preprocess.std);
  return preprocess;
}

nlohmann::ordered_json to_hugging_face_preprocess(const PreprocessConfig& config) {
  if (config.resize_mode == ResizeMode::longest) fail("transformers' CLIPImageProcessor has no padding");
  const nlohmann::ordered_json square = {{"height", config.size}, {"width", config.size}};
  const bool squash = config.resize_mode == ResizeMode::squash;
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_resize", true},
          {"size", squash ? square : nlohmann::ordered_json{{"shortest_edge", config.size}}},
          {"resample", resample_numbers[static_cast<std::size_t>(config.interpolation)]},
          {"do_center_crop", !squash},
          {"crop_size", square},
          {"do_convert_rgb", true},
          {"do_rescale", true},
          {"rescale_factor", 1.0 / 255},
          {"do_normalize", true},
          {"image_mean", config.mean},
          {"image_std", config.std}};
}

}  // namespace gondola
