#include "train/embedding_norm.h"

#include <torch/types.h>

#include <string>

#include "base/error.h"
#include "torch_towers/tensors.h"
#include "train/rank_sum.h"

namespace gondola {
namespace {

constexpr double epsilon = 1e-5, momentum = 0.1;  // torch.nn.BatchNorm1d's

torch::Tensor to_double(const Tensor& tensor) {
  return to_torch(tensor).to(torch::kDouble);
}

struct Statistics {
  torch::Tensor mean, deviation;
};

Statistics statistics(const EmbeddingNorm& norm) {
  return {norm.running_mean.cpu().to(torch::kDouble), (norm.running_var.cpu().to(torch::kDouble) + epsilon).sqrt()};
}

/// embedding = (normalised·gain + bias)·projection, projection: width × dim.
void fold_after_layer_norm(TensorMap& weights, const std::string& bias, const std::string& projection,
                           const Statistics& norm) {
  const auto p = to_double(weights.at(projection));
  const auto shift = std::get<0>(at::linalg_lstsq(p.t(), norm.mean.unsqueeze(1), std::nullopt, "gelsd")).squeeze(1);
  if ((torch::matmul(shift, p) - norm.mean).abs().max().item<double>() >
      1e-6 * (1 + norm.mean.abs().max().item<double>()))
    fail("{}: the embedding norm cannot be folded: the projection has lost rank", projection);
  weights[bias] = from_torch(to_double(weights.at(bias)) - shift);
  weights[projection] = from_torch(p / norm.deviation);
}

/// embedding = weight·x + bias, weight: dim × width.
void fold_into_linear(TensorMap& weights, const std::string& layer, const Statistics& norm) {
  weights[layer + ".bias"] = from_torch((to_double(weights.at(layer + ".bias")) - norm.mean) / norm.deviation);
  weights[layer + ".weight"] = from_torch(to_double(weights.at(layer + ".weight")) / norm.deviation.unsqueeze(1));
}

}  // namespace

EmbeddingNorm::EmbeddingNorm(int dim) {
  running_mean = register_buffer("running_mean", torch::zeros({dim}));
  running_var = register_buffer("running_var", torch::ones({dim}));
}

torch::Tensor EmbeddingNorm::forward(const torch::Tensor& x, const torch::Tensor& repeats, Communicator& communicator) {
  const auto weight = repeats.to(x.scalar_type()).unsqueeze(1);
  const auto sum = [&](const torch::Tensor& rows) { return sum_over_ranks(rows.sum(0), communicator); };
  const auto count = sum(weight);
  const auto mean = sum(weight * x) / count;
  const auto centred = x - mean;
  const auto variance = sum(weight * centred * centred) / count;
  {
    const torch::NoGradGuard no_gradients;
    running_mean.lerp_(mean, momentum);
    running_var.lerp_(variance * count / (count - 1), momentum);
  }
  return centred / (variance + epsilon).sqrt();
}

torch::Tensor EmbeddingNorm::evaluate(const torch::Tensor& x) const {
  return (x - running_mean) / (running_var + epsilon).sqrt();
}

void fold_embedding_norms(TensorMap& weights, const EmbeddingNorm& image, const EmbeddingNorm& text) {
  if (weights.contains("visual.attnpool.c_proj.bias"))
    fold_into_linear(weights, "visual.attnpool.c_proj", statistics(image));
  else
    fold_after_layer_norm(weights, "visual.ln_post.bias", "visual.proj", statistics(image));
  fold_after_layer_norm(weights, "ln_final.bias", "text_projection", statistics(text));
}

}  // namespace gondola
