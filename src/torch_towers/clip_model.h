#pragma once

#include <torch/nn/modules/embedding.h>

#include <memory>

#include "checkpoint/tensor.h"
#include "torch_towers/image_towers.h"

namespace gondola {

/// The token of each text (ids: batch × tokens) whose state becomes the embedding.
torch::Tensor pooled_positions(const torch::Tensor& ids, const TextTowerConfig& text);

/// CLIP on libtorch. Parameters and buffers carry the names of the checkpoint schema (checkpoint/model_files.h).
class ClipModel : public torch::nn::Module {
 public:
  /// With OpenAI's initialisation (clip/model.py, CLIP.initialize_parameters); random numbers come from torch's
  /// generator.
  explicit ClipModel(const ModelConfig& config);

  const ModelConfig& config() const { return config_; }

  /// pixels: batch × 3 × image_size × image_size; returns batch × embed_dim, not normalised. `patches`: see ImageTower.
  torch::Tensor encode_images(const torch::Tensor& pixels, const torch::Tensor& patches = {}) {
    return visual_->forward(pixels, patches);
  }

  /// ids: batch × tokens, int64, best on the host, tokens at most context_length (a causal tower may be fed the longest
  /// text's length); returns batch × embed_dim, not normalised. A causal tower computes texts of like length together,
  /// and of none what follows its group's longest.
  torch::Tensor encode_texts(const torch::Tensor& ids);

  /// Whether transformer blocks are computed again in the backward pass, for memory.
  void recompute_blocks(bool recompute);

  /// See ModifiedResNet::blur_stem; a VisionTransformer has none.
  void blur_stem();

  /// Makes batch norms take the statistics of several processes' batches (torch_towers/batch_norm.h).
  void synchronise_batch_norms(const std::function<torch::Tensor(const torch::Tensor&)>& sum_over_processes);

  /// The logarithm of the inverse temperature, a scalar parameter.
  torch::Tensor logit_scale;

  /// Added to the logits, a scalar parameter; undefined without sigmoid_loss.
  torch::Tensor logit_bias;

  /// All parameters and floating-point buffers by name, as fp32 on the CPU.
  TensorMap weights() const;

  /// Overwrites them. Throws Error when a name is missing, is too many or has another shape.
  void load_weights(const TensorMap& weights);

 private:
  void initialise_text();
  torch::Tensor encode_equally_long(const torch::Tensor& ids, const torch::Tensor& pooled);

  ModelConfig config_;
  std::shared_ptr<ImageTower> visual_;
  torch::nn::Embedding token_embedding_ = nullptr;
  torch::Tensor positional_embedding_, text_projection_, text_projection_bias_;
  Transformer transformer_ = nullptr;
  torch::nn::LayerNorm ln_final_ = nullptr;
};

}  // namespace gondola
