#pragma once

#include <string>

#include "train/recipe.h"

namespace gondola {

/// The factor of a parameter's learning rate; 0: the parameter is locked. `name` is that of the checkpoint schema
/// (model_files.h).
///
/// A tower of L blocks (a ModifiedResNet's are its four stages) has the depths 0 (patch, token and position embeddings,
/// or the stem), 1 … L and L + 1 (the final norm and the projection, or the attention pooling). Depth d has the factor
/// layer_decay^(L + 1 − d) (BEiT's, arXiv 2106.08254), times the tower's own. In a locked tower (LiT, arXiv
/// 2111.07991), only the last `unlocked_blocks` blocks and what follows them are trained; if that is 0, nothing is.
/// logit_scale and logit_bias have the factor 1, the first convolution of a low-pass stem 0.
double learning_rate_factor(const std::string& name, const Recipe& recipe);

}  // namespace gondola
