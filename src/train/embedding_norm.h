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

  /// Normalises x, m × dim, by the statistics of all ranks' rows together, and updates the running statistics.
  /// `repeats`, m values, says how often each row counts.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& repeats, Communicator& communicator);

  /// Normalises x by the running statistics.
  torch::Tensor evaluate(const torch::Tensor& x) const;

  torch::Tensor running_mean, running_var;
};

/// Folds the norms into the model's last layers, so that the weights alone give (x − mean) / deviation: exactly, in
/// fp64. A projection P becomes P·diag(1/σ). The bias b of a LayerNorm before it becomes a solution b' of
/// b'·P = b·P − mean, the projection's own bias b (b − mean)/σ.
void fold_embedding_norms(TensorMap& weights, const EmbeddingNorm& image, const EmbeddingNorm& text);

}  // namespace gondola
