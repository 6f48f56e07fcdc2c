#pragma once

#include <string>

#include "train/recipe.h"

namespace gondola {

/// What the learning rate of a parameter (of the checkpoint schema's name, model_files.h) is multiplied by; 0 says that
/// it is locked.
///
/// A tower of L blocks (a ModifiedResNet's are its four stages) has the depths 0 (patch, token and position embeddings,
/// or the stem), 1 … L and L + 1 (the final norm and the projection, or the attention pooling). A depth d has the
/// factor layer_decay^(L + 1 − d) (BEiT's, arXiv 2106.08254), times the tower's own. Of a locked tower (LiT, arXiv
/// 2111.07991) the last `unlocked_blocks` blocks and what follows them are still trained, and with none of them nothing
/// is. logit_scale and logit_bias have the factor 1. A low-pass stem keeps its first convolution.
double learning_rate_factor(const std::string& name, const Recipe& recipe);

}  // namespace gondola
