#include "train/initial_weights.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string_view>

#include "base/error.h"
#include "checkpoint/open_clip_config.h"
#include "checkpoint/quantized_weights.h"
#include "torch_towers/image_towers.h"
#include "torch_towers/tensors.h"

namespace gondola {
namespace {

bool is_image(const std::string& name) {
  return name.starts_with("visual.");
}

bool is_text(const std::string& name) {
  return !is_image(name) && name != "logit_scale" && name != "logit_bias";
}

/// The settings that decide what a tower computes, by open_clip's names: its section's and the shared ones.
std::map<std::string, std::string> tower_values(ModelConfig config, const char* section) {
  TextTowerConfig& text = config.text;
  if (text.pooling == TextPooling::end_token && text.end_id == text.vocab_size - 1)
    text.pooling = TextPooling::largest_id;  // equivalent in that case
  if (text.causal) text.pad_id = 0;          // padding follows the end token: a causal tower does not see it
  const auto json = to_open_clip_config(config);
  std::map<std::string, std::string> values;
  for (const auto& [key, value] : json.items())
    if (!value.is_object()) values[key] = value.dump();
  for (const auto& [key, value] : json.at(section).items()) values[fmt::format("{}.{}", section, key)] = value.dump();
  values.erase("vision_cfg.image_size");  // positions are resized
  values.erase("init_logit_bias");        // belongs to neither tower
  return values;
}

void check_tower(const std::string& name, const ModelConfig& found, const ModelConfig& expected, const char* section) {
  auto theirs = tower_values(found, section), ours = tower_values(expected, section);
  const auto value_of = [](const auto& values, const std::string& key) {
    const auto at = values.find(key);
    return at == values.end() ? std::string("(the default)") : at->second;
  };
  auto keys = theirs;
  keys.insert(ours.begin(), ours.end());
  std::vector<std::string> differences;
  for (const auto& [key, unused] : keys)
    if (value_of(theirs, key) != value_of(ours, key))
      differences.push_back(
          fmt::format("{} = {}, the recipe's model {}", key, value_of(theirs, key), value_of(ours, key)));
  if (!differences.empty()) fail("{}: has {}", name, fmt::join(differences, "; "));
}

/// Throws Error unless the recipe prepares pixels as the model's were, or itself sets the keys that differ.
void check_preprocess(const std::string& name, const PreprocessConfig& theirs, const Recipe& recipe) {
  const PreprocessConfig& ours = recipe.preprocess;
  const auto require = [&](const char* key, bool same) {
    if (!same && !recipe.given.contains(fmt::format("preprocess.{}", key)))
      fail(
          "{}: has another preprocess.{} than the recipe's default; set it in the recipe (gondola info --model shows "
          "it)",
          name, key);
  };
  require("mean", theirs.mean == ours.mean);
  require("std", theirs.std == ours.std);
  require("interpolation", theirs.interpolation == ours.interpolation);
  require("resize_mode", theirs.resize_mode == ours.resize_mode);
}

void resize_image_positions(TensorMap& weights, const ImageTowerConfig& image) {
  const bool vit = image.architecture == ImageArchitecture::vit;
  const int side = image.image_size / (vit ? image.patch_size : 32);
  const auto found = weights.find(vit ? "visual.positional_embedding" : "visual.attnpool.positional_embedding");
  if (found != weights.end()) found->second = from_torch(resize_positions(to_torch(found->second), side));
}

void check_stem(const std::string& name, const TensorMap& weights) {
  const auto stem = to_torch(weights.at("visual.conv1.weight"));
  const auto blur = binomial_blur(stem.sum({2, 3}, /*keepdim=*/true));
  if ((stem - blur).abs().max().item<double>() > 0.01 * stem.abs().max().item<double>())  // rounding of fp16 and int8
    fail("{}: its first convolution is not the blur that model.low_pass_stem keeps", name);
}

}  // namespace

at::Tensor resize_positions(const at::Tensor& positions, std::int64_t to) {
  const std::int64_t from = std::llround(std::sqrt(static_cast<double>(positions.size(0) - 1)));
  if (from == to) return positions;
  const auto grid = positions.narrow(0, 1, from * from).t().reshape({1, -1, from, from});
  const auto resized = at::_upsample_bicubic2d_aa(grid, {to, to}, /*align_corners=*/false);
  return at::cat({positions.narrow(0, 0, 1), resized.reshape({-1, to * to}).t()});
}

void check_vocabulary(const ModelFiles& model, const std::string& name, const ClipTokenizer& tokenizer) {
  if (!model.vocabulary) return;
  const ClipTokenizer theirs = ClipTokenizer::load(*model.vocabulary);
  for (std::int32_t id = 0; id < std::min(theirs.size(), tokenizer.size()); ++id)
    if (theirs.token(id) != tokenizer.token(id))
      fail("{}: its token {} is \"{}\", the recipe's \"{}\": set model.vocabulary to {} and model.vocab_size to 0",
           name, id, theirs.token(id), tokenizer.token(id), model.vocabulary->string());
}

void load_initial_weights(const NamedTensors& tensors, const Recipe& recipe, const ClipTokenizer& tokenizer) {
  const auto take = [&](const std::string& name, bool image, bool text) {
    if (name.empty()) return;
    ModelFiles files = load_model_files(name);
    files.weights = dequantize(files.weights);
    if (image) {
      check_tower(name, files.config, recipe.model, "vision_cfg");
      check_preprocess(name, files.preprocess, recipe);
      resize_image_positions(files.weights, recipe.model.image);
    }
    if (text) {
      check_vocabulary(files, name, tokenizer);  // first: it says what to set, even if the sizes differ
      check_tower(name, files.config, recipe.model, "text_cfg");
    }
    // With the bias that a sigmoid loss begins with, a softmax loss's scale would make every pair a match.
    if (recipe.model.sigmoid_loss && !files.weights.contains("logit_bias")) files.weights.erase("logit_scale");
    for (const auto& [named, tensor] : tensors) {
      constexpr std::string_view of_model = "model.";
      if (!named.starts_with(of_model)) continue;
      const std::string weight = named.substr(of_model.size());
      const bool of_tower = (image && is_image(weight)) || (text && is_text(weight));
      const bool is_there = files.weights.contains(weight);
      if (of_tower && !is_there) fail("{}: the weight {} is missing", name, weight);
      if (of_tower || (image && text && is_there)) restore(tensor, files.weights, weight);
    }
    if (image && recipe.low_pass_stem) check_stem(name, files.weights);
  };
  take(recipe.pretrained, true, true);
  take(recipe.pretrained_image, true, false);
  take(recipe.pretrained_text, false, true);
}

}  // namespace gondola
