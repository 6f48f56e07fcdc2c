#include "train/muon.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace gondola {
namespace {

/// Approximate polar factors of x, count × rows × columns: five Newton-Schulz steps with the quintic σ ↦ aσ + bσ³ + cσ⁵
/// that is steepest at 0. Singular values of a matrix of norm 1 end between 0.7 and 1.2, which serves as well as 1.
at::Tensor polar_factors(at::Tensor x) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  constexpr int steps = 5;
  const bool tall = x.size(1) > x.size(2);
  if (tall) x = x.transpose(1, 2);  // for the smaller of the products x·xᵀ and xᵀ·x
  x = x / (at::linalg_vector_norm(x, 2, {1, 2}, /*keepdim=*/true) + 1e-7);
  for (int step = 0; step < steps; ++step) {
    const auto squared = at::bmm(x, x.transpose(1, 2));
    x = at::baddbmm(x, at::baddbmm(squared, squared, squared, b, c), x, a);
  }
  return tall ? x.transpose(1, 2) : x;
}

}  // namespace

bool uses_muon(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && name.find("embedding") == std::string::npos;
}

std::int64_t matrix_count(const std::string& name, const ModelConfig& model) {
  const int heads = name.starts_with("visual.") ? model.image.heads : model.text.heads;
  if (name.ends_with("in_proj_weight")) return 3 * heads;
  const bool pools = name.find("attnpool.") != std::string::npos && name.find(".c_proj") == std::string::npos;
  return pools ? heads : 1;
}

bool is_input_major(const std::string& name) {
  return name == "visual.proj" || name == "text_projection";
}

at::Tensor muon_update(const at::Tensor& momentum, std::int64_t matrices, at::ScalarType type) {
  const auto stacked = momentum.reshape({matrices, momentum.size(0) / matrices, -1});
  const double rows = static_cast<double>(stacked.size(1)), columns = static_cast<double>(stacked.size(2));
  const auto update = polar_factors(stacked.to(type)).to(momentum.scalar_type());
  return update.reshape(momentum.sizes()) * std::sqrt(std::max(1.0, rows / columns));
}

}  // namespace gondola
