#pragma once

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "config/model_config.h"

namespace gondola {

inline namespace on_libtorch {  // the engine has classes of the same names, and a test links both

/// The pre-norm transformer that both towers share (OpenAI clip/model.py, ResidualAttentionBlock); submodules carry the
/// names of the checkpoint schema.
struct AttentionImpl : torch::nn::Module {
  AttentionImpl(int width, int heads);
  torch::Tensor forward(const torch::Tensor& x, bool causal);  ///< x: batch × tokens × width

  torch::Tensor in_proj_weight, in_proj_bias;
  torch::nn::Linear out_proj = nullptr;
  int heads;
};
TORCH_MODULE(Attention);

struct MlpImpl : torch::nn::Module {
  MlpImpl(int width, int mlp_width, Activation activation);
  torch::Tensor forward(const torch::Tensor& x);

  torch::nn::Linear c_fc = nullptr, c_proj = nullptr;
  Activation activation;
};
TORCH_MODULE(Mlp);

struct TransformerBlockImpl : torch::nn::Module {
  TransformerBlockImpl(int width, int heads, int mlp_width, Activation activation, double norm_eps);
  torch::Tensor forward(const torch::Tensor& x, bool causal);

  torch::nn::LayerNorm ln_1 = nullptr, ln_2 = nullptr;
  Attention attn = nullptr;
  Mlp mlp = nullptr;
};
TORCH_MODULE(TransformerBlock);

struct TransformerImpl : torch::nn::Module {
  TransformerImpl(int layers, int width, int heads, int mlp_width, Activation activation, double norm_eps);
  torch::Tensor forward(torch::Tensor x, bool causal);

  torch::nn::ModuleList resblocks;
  bool recompute = false;  ///< blocks keep only their inputs for the backward pass (torch_towers/recompute.h)
};
TORCH_MODULE(Transformer);

}  // namespace on_libtorch
}  // namespace gondola
