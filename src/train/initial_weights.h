#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "checkpoint/model_files.h"
#include "torch_towers/tensors.h"
#include "train/recipe.h"

namespace gondola {

/// Gives an objective's tensors what the recipe takes from other models: all of model.initial's, then the image tower
/// of model.initial_image and the text tower of model.initial_text. An image tower may have been trained at another
/// image_size: its position embeddings are resized. A sigmoid loss keeps its own scale where the model has none of such
/// a loss. Throws Error that names in what a tower differs from the recipe's, or the weight that it lacks.
void load_initial_weights(const NamedTensors& tensors, const Recipe& recipe, const ClipTokenizer& tokenizer);

/// Position embeddings of a class token and a square grid, (1 + from²) × width, for a grid of side `to`: bicubic with
/// antialiasing, the class token's as it is (open_clip's resize_pos_embed).
at::Tensor resize_positions(const at::Tensor& positions, std::int64_t to);

/// Throws Error when the model has a vocabulary that gives other ids than the tokenizer.
void check_vocabulary(const ModelFiles& model, const std::string& name, const ClipTokenizer& tokenizer);

}  // namespace gondola
