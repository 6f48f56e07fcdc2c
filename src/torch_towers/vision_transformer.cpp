#include <cmath>

#include "torch_towers/image_towers.h"

namespace gondola {

VisionTransformer::VisionTransformer(const ImageTowerConfig& config_, int embed_dim) : config(config_) {
  const double scale = 1 / std::sqrt(config.width);
  const auto norm = torch::nn::LayerNormOptions({config.width}).eps(config.norm_eps);
  conv1 = register_module(
      "conv1", torch::nn::Conv2d(
                   torch::nn::Conv2dOptions(3, config.width, config.patch_size).stride(config.patch_size).bias(false)));
  class_embedding = register_parameter("class_embedding", scale * torch::randn({config.width}));
  positional_embedding =
      register_parameter("positional_embedding", scale * torch::randn({config.tokens(), config.width}));
  if (config.pre_norm) ln_pre = register_module("ln_pre", torch::nn::LayerNorm(norm));
  transformer = register_module("transformer", Transformer(config.layers, config.width, config.heads, config.mlp_width,
                                                           config.activation, config.norm_eps));
  ln_post = register_module("ln_post", torch::nn::LayerNorm(norm));
  proj = register_parameter("proj", scale * torch::randn({config.width, embed_dim}));
}

torch::Tensor VisionTransformer::forward(const torch::Tensor& pixels, const torch::Tensor& patches) {
  const auto embedded = conv1(pixels).flatten(2).transpose(1, 2);
  const auto class_token = class_embedding.to(embedded.dtype()).expand({embedded.size(0), 1, -1});
  auto x = torch::cat({class_token, embedded}, 1) + positional_embedding;
  if (patches.defined()) {
    const auto kept = (patches + 1).unsqueeze(2).expand({-1, -1, x.size(2)});  // skips the class token
    x = torch::cat({x.narrow(1, 0, 1), x.gather(1, kept)}, 1);
  }
  if (ln_pre) x = ln_pre(x);
  x = transformer(x, /*causal=*/false);
  if (config.pooling == ImagePooling::class_token) return torch::matmul(ln_post(x.select(1, 0)), proj);
  const auto patch_tokens = [](const torch::Tensor& t) { return t.narrow(1, 1, t.size(1) - 1).mean(1); };
  const auto pooled = config.final_norm_after_pooling ? ln_post(patch_tokens(x)) : patch_tokens(ln_post(x));
  return torch::matmul(pooled, proj);
}

}  // namespace gondola
