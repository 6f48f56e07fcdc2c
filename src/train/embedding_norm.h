#pragma once

#include <torch/nn/module.h>

#include "checkpoint/tensor.h"
#include "train/communicator.h"

namespace gondola {

/// A BatchNorm without parameters over one tower's embeddings, before their L2 normalisation. Untrained towers give all
/// inputs nearly the same embedding; centring and scaling the components lets training start at once.
class EmbeddingNorm : public torch::nn::Module {
 public:
  explicit EmbeddingNorm(int dim);

  /// x: m × dim; `repeats`, m values, says how often each row counts. By the statistics of all ranks' rows together,
  /// which also move the running ones.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& repeats, Communicator& communicator);

  /// By the running statistics.
  torch::Tensor evaluate(const torch::Tensor& x) const;

  torch::Tensor running_mean, running_var;
};

/// Puts what the norms do into the model's last layers, so that the weights alone give (x − mean) / deviation: exactly,
/// in fp64. A projection P whose input ends with a bias b (of a LayerNorm, or its own) becomes P·diag(1/σ), and b a
/// solution of b'·P = b·P − mean (or b − mean, scaled, for the projection's own bias).
void fold_embedding_norms(TensorMap& weights, const EmbeddingNorm& image, const EmbeddingNorm& text);

}  // namespace gondola
