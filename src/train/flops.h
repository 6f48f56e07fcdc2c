#pragma once

#include <cstdint>

#include "train/recipe.h"

namespace gondola {

/// Floating-point operations of a training step with `images` images and `texts` texts of `tokens` tokens on average. A
/// tower needs three times those of its forward pass (PaLM's convention, arXiv 2204.02311, appendix B; recomputation by
/// checkpointing is not counted), a locked one only the forward pass.
double training_flops(const Recipe& recipe, std::int64_t images, std::int64_t texts, int tokens);

/// Peak floating-point operations per second of this process: train.peak_tflops, else as measured with a large matrix
/// product in the recipe's precision on its device.
double peak_flops(const Recipe& recipe);

}  // namespace gondola
