#include "train/learning_rate_factor.h"

#include <cmath>
#include <cstdlib>
#include <string_view>

namespace gondola {
namespace {

/// The number that follows `prefix` in the name, or −1.
int number_after(const std::string& name, std::string_view prefix) {
  return name.starts_with(prefix) ? std::atoi(name.c_str() + prefix.size()) : -1;
}

int image_depth(const std::string& name, int blocks) {
  if (const int block = number_after(name, "visual.transformer.resblocks."); block >= 0) return block + 1;
  if (const int stage = number_after(name, "visual.layer"); stage > 0) return stage;
  for (const char* last : {"visual.ln_post.", "visual.proj", "visual.attnpool."})
    if (name.starts_with(last)) return blocks + 1;
  return 0;
}

int text_depth(const std::string& name, int blocks) {
  if (const int block = number_after(name, "transformer.resblocks."); block >= 0) return block + 1;
  return name.starts_with("ln_final.") || name.starts_with("text_projection") ? blocks + 1 : 0;
}

}  // namespace

double learning_rate_factor(const std::string& name, const Recipe& recipe) {
  if (name == "logit_scale" || name == "logit_bias") return 1;
  if (recipe.low_pass_stem && name == "visual.conv1.weight") return 0;
  const bool image = name.starts_with("visual.");
  const ImageTowerConfig& tower = recipe.model.image;
  const int blocks = !image                                         ? recipe.model.text.layers
                     : tower.architecture == ImageArchitecture::vit ? tower.layers
                                                                    : static_cast<int>(tower.stage_blocks.size());
  const int below_top = blocks + 1 - (image ? image_depth(name, blocks) : text_depth(name, blocks));
  const bool locked = image ? recipe.lock_image : recipe.lock_text;
  if (locked && (recipe.unlocked_blocks == 0 || below_top > recipe.unlocked_blocks)) return 0;
  return (image ? recipe.image_lr_factor : recipe.text_lr_factor) * std::pow(recipe.layer_decay, below_top);
}

}  // namespace gondola
