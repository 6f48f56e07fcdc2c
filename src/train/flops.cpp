#include "train/flops.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "base/interrupt.h"

namespace gondola {

double training_flops(const Recipe& recipe, std::int64_t images, std::int64_t texts, int tokens) {
  ModelConfig model = recipe.model;
  model.text.context_length = tokens;
  const ForwardFlops forward = count_forward_flops(model);
  const auto passes = [&](bool image) { return recipe.is_locked(image) ? 1 : 3; };
  return passes(true) * forward.image * (1 - recipe.patch_dropout) * static_cast<double>(images) +
         passes(false) * forward.text * static_cast<double>(texts);
}

double peak_flops(const Recipe& recipe) {
  if (recipe.peak_tflops > 0) return recipe.peak_tflops * 1e12;
  const at::NoGradGuard no_gradients;
  const c10::Device device(recipe.device);
  const std::int64_t side = device.is_cpu() ? 1024 : 8192;
  const auto options = at::TensorOptions(device).dtype(recipe.bf16 ? at::kBFloat16 : at::kFloat);
  const auto a = at::ones({side, side}, options), b = at::ones({side, side}, options);
  const int products = device.is_cpu() ? 1 : 3;
  double best = 0, taken = 0;
  for (int attempt = 0; !interrupted() && (attempt < 2 || (attempt < 12 && taken < 0.5));
       ++attempt) {  // the first attempt warms up
    const auto start = std::chrono::steady_clock::now();
    at::Tensor product;
    for (int i = 0; i < products; ++i) product = at::matmul(a, b);
    product[0][0].item<double>();  // waits for a GPU
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, products * 2.0 * static_cast<double>(side * side * side) / seconds.count());
    taken += seconds.count();
  }
  return best;
}

}  // namespace gondola
