#pragma once

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include "torch_towers/batch_norm.h"
#include "torch_towers/transformer.h"

namespace gondola {

/// The weights of a 3 × 3 convolution that mixes colours (out × in × 1 × 1) and blurs them with a binomial filter.
torch::Tensor binomial_blur(const torch::Tensor& colours);

inline namespace on_libtorch {  // the engine has classes of the same names, and a test links both

/// The interface of both towers. pixels: batch × 3 × image_size × image_size; returns batch × embed_dim. `patches`, if
/// defined: batch × kept, int64, the patches of each image that a VisionTransformer sees (FLIP, arXiv 2212.00794).
struct ImageTower : torch::nn::Module {
  virtual torch::Tensor forward(const torch::Tensor& pixels, const torch::Tensor& patches) = 0;
};

struct VisionTransformer : ImageTower {
  VisionTransformer(const ImageTowerConfig& config, int embed_dim);
  torch::Tensor forward(const torch::Tensor& pixels, const torch::Tensor& patches) override;

  ImageTowerConfig config;
  torch::nn::Conv2d conv1 = nullptr;
  torch::Tensor class_embedding, positional_embedding, proj;
  torch::nn::LayerNorm ln_pre = nullptr, ln_post = nullptr;
  Transformer transformer = nullptr;
};

/// A bottleneck that strides by average pooling after its 3×3 convolution (OpenAI clip/model.py).
struct BottleneckImpl : torch::nn::Module {
  BottleneckImpl(int in_channels, int planes, int stride);
  torch::Tensor forward(const torch::Tensor& x);

  int stride;
  torch::nn::Conv2d conv1 = nullptr, conv2 = nullptr, conv3 = nullptr;
  BatchNorm bn1 = nullptr, bn2 = nullptr, bn3 = nullptr;
  torch::nn::Conv2d downsample_conv = nullptr;
  BatchNorm downsample_norm = nullptr;
};
TORCH_MODULE(Bottleneck);

/// One attention layer whose only query is the mean of the positions.
struct AttentionPoolImpl : torch::nn::Module {
  AttentionPoolImpl(int positions, int width, int heads, int embed_dim);
  torch::Tensor forward(const torch::Tensor& x);  ///< x: batch × width × height × width

  int heads;
  torch::Tensor positional_embedding;
  torch::nn::Linear q_proj = nullptr, k_proj = nullptr, v_proj = nullptr, c_proj = nullptr;
};
TORCH_MODULE(AttentionPool);

/// OpenAI's ResNet: a stem of three convolutions, average pooling for strides, attention pooling at the end.
struct ModifiedResNet : ImageTower {
  ModifiedResNet(const ImageTowerConfig& config, int embed_dim);
  torch::Tensor forward(const torch::Tensor& pixels, const torch::Tensor& patches) override;

  /// Sets conv1, whose stride is 2, to a binomial_blur of random colour mixtures. The tower then sees no detail that an
  /// image of half the size would not have.
  void blur_stem();

  torch::nn::Conv2d conv1 = nullptr, conv2 = nullptr, conv3 = nullptr;
  BatchNorm bn1 = nullptr, bn2 = nullptr, bn3 = nullptr;
  std::array<torch::nn::Sequential, 4> layers = {nullptr, nullptr, nullptr, nullptr};
  AttentionPool attnpool = nullptr;
};

}  // namespace on_libtorch
}  // namespace gondola
