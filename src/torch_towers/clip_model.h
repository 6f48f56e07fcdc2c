#pragma once

#include <torch/nn/modules/embedding.h>

#include <memory>

#include "checkpoint/tensor.h"
#include "torch_towers/image_towers.h"

namespace gondola {

/// The position in each text (ids: batch × tokens) of the token whose state becomes the embedding.
torch::Tensor pooled_positions(const torch::Tensor& ids, const TextTowerConfig& text);

/// CLIP on libtorch. Parameters and buffers carry the names of the checkpoint schema (checkpoint/model_files.h).
class ClipModel : public torch::nn::Module {
 public:
  /// Uses OpenAI's initialisation (clip/model.py, CLIP.initialize_parameters), with torch's random generator.
  explicit ClipModel(const ModelConfig& config);

  const ModelConfig& config() const { return config_; }

  /// pixels: batch × 3 × image_size × image_size; returns batch × embed_dim, not normalised. `patches`: see ImageTower.
  torch::Tensor encode_images(const torch::Tensor& pixels, const torch::Tensor& patches = {}) {
    return visual_->forward(pixels, patches);
  }

  /// ids: batch × tokens, int64, preferably on the host; at most context_length tokens (for a causal tower, as many as
  /// the longest text has will do). Returns batch × embed_dim, not normalised. A causal tower groups texts of similar
  /// length and computes no token beyond the longest of the group.
  torch::Tensor encode_texts(const torch::Tensor& ids);

  /// Sets whether the backward pass recomputes transformer blocks, to save memory.
  void recompute_blocks(bool recompute);

  /// See ModifiedResNet::blur_stem; not for a VisionTransformer.
  void blur_stem();

  /// Makes batch norms use statistics over the batches of all processes (torch_towers/batch_norm.h).
  void synchronise_batch_norms(const std::function<torch::Tensor(const torch::Tensor&)>& all_reduce_sum);

  /// The logarithm of the inverse temperature, a scalar parameter.
  torch::Tensor logit_scale;

  /// Added to the logits, a scalar parameter; undefined without sigmoid_loss.
  torch::Tensor logit_bias;

  /// All parameters and floating-point buffers by name, as fp32 on the CPU.
  TensorMap weights() const;

  /// Overwrites all of these. Throws Error if a name is missing or unknown, or a shape differs.
  void load_weights(const TensorMap& weights);

 private:
  void initialise_text();
  torch::Tensor encode_group(const torch::Tensor& ids, const torch::Tensor& pooled);

  ModelConfig config_;
  std::shared_ptr<ImageTower> visual_;
  torch::nn::Embedding token_embedding_ = nullptr;
  torch::Tensor positional_embedding_, text_projection_, text_projection_bias_;
  Transformer transformer_ = nullptr;
  torch::nn::LayerNorm ln_final_ = nullptr;
};

}  // namespace gondola
