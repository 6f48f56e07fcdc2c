#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "checkpoint/model_files.h"
#include "torch_towers/tensors.h"
#include "train/recipe.h"

namespace gondola {

/// Copies into an objective's tensors what the recipe takes from other models: all of model.pretrained's, then the
/// image tower of model.pretrained_image and the text tower of model.pretrained_text. The position embeddings of an
/// image tower trained at another image_size are resized. A sigmoid loss keeps its own scale if the model was trained
/// with a softmax loss. Throws Error that names how a tower differs from the recipe's, or the weight that it lacks.
void load_initial_weights(const NamedTensors& tensors, const Recipe& recipe, const ClipTokenizer& tokenizer);

/// Resizes the position embeddings of a class token and a square grid, (1 + from²) × width, to a grid of side `to`:
/// bicubic with antialiasing; the class token's stays as it is (open_clip's resize_pos_embed).
at::Tensor resize_positions(const at::Tensor& positions, std::int64_t to);

/// Throws Error if the model comes with a vocabulary whose ids differ from the tokenizer's.
void check_vocabulary(const ModelFiles& model, const std::string& name, const ClipTokenizer& tokenizer);

}  // namespace gondola
