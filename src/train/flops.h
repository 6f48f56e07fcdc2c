#pragma once

#include <cstdint>

#include "train/recipe.h"

namespace gondola {

/// Floating-point operations that a training step needs for `images` images and `texts` texts of `tokens` tokens on
/// average: of each tower three times those of its forward pass (PaLM's convention, arXiv 2204.02311, appendix B; what
/// checkpointing computes again is not counted), once in a locked one.
double training_flops(const Recipe& recipe, std::int64_t images, std::int64_t texts, int tokens);

/// Floating-point operations a second that this process can do at best: train.peak_tflops, else those of a large matrix
/// product in the recipe's precision on its device, measured.
double peak_flops(const Recipe& recipe);

}  // namespace gondola
