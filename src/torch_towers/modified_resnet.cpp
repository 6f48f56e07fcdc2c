#include <torch/nn/init.h>

#include <string>

#include "torch_towers/image_towers.h"

namespace gondola {
namespace {

torch::nn::Conv2d convolution(int in_channels, int out_channels, int kernel, int stride = 1) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in_channels, out_channels, kernel).stride(stride).padding(kernel / 2).bias(false));
}

torch::Tensor normalise_and_rectify(BatchNorm& norm, const torch::Tensor& x) {
  return torch::relu(norm->forward(x));
}

torch::Tensor pool(const torch::Tensor& x, int stride) {
  return stride == 1 ? x : torch::avg_pool2d(x, stride);
}

}  // namespace

BottleneckImpl::BottleneckImpl(int in_channels, int planes, int stride_) : stride(stride_) {
  constexpr int expansion = 4;
  conv1 = register_module("conv1", convolution(in_channels, planes, 1));
  bn1 = register_module("bn1", BatchNorm(planes));
  conv2 = register_module("conv2", convolution(planes, planes, 3));
  bn2 = register_module("bn2", BatchNorm(planes));
  conv3 = register_module("conv3", convolution(planes, planes * expansion, 1));
  bn3 = register_module("bn3", BatchNorm(planes * expansion));
  if (stride == 1 && in_channels == planes * expansion) return;
  downsample_conv = convolution(in_channels, planes * expansion, 1);
  downsample_norm = BatchNorm(planes * expansion);
  torch::nn::Sequential downsample;  // its pooling, "-1" in OpenAI's code, has no weights
  downsample->push_back("0", downsample_conv);
  downsample->push_back("1", downsample_norm);
  register_module("downsample", downsample);
}

torch::Tensor BottleneckImpl::forward(const torch::Tensor& x) {
  auto out = normalise_and_rectify(bn1, conv1(x));
  out = normalise_and_rectify(bn2, conv2(out));
  out = bn3(conv3(pool(out, stride)));
  const auto identity = downsample_conv ? downsample_norm(downsample_conv(pool(x, stride))) : x;
  return torch::relu(out + identity);
}

AttentionPoolImpl::AttentionPoolImpl(int positions, int width, int heads_, int embed_dim) : heads(heads_) {
  const double deviation = 1 / std::sqrt(width);
  positional_embedding = register_parameter("positional_embedding", torch::randn({positions + 1, width}) * deviation);
  q_proj = register_module("q_proj", torch::nn::Linear(width, width));
  k_proj = register_module("k_proj", torch::nn::Linear(width, width));
  v_proj = register_module("v_proj", torch::nn::Linear(width, width));
  c_proj = register_module("c_proj", torch::nn::Linear(width, embed_dim));
  for (auto* projection : {&q_proj, &k_proj, &v_proj, &c_proj})
    torch::nn::init::normal_((*projection)->weight, 0, deviation);
}

torch::Tensor AttentionPoolImpl::forward(const torch::Tensor& x) {
  const auto batch = x.size(0), width = x.size(1);
  const auto positions = x.flatten(2).transpose(1, 2);
  const auto mean = positions.mean(1, /*keepdim=*/true);
  const auto tokens = torch::cat({mean, positions}, 1) + positional_embedding;
  const auto split = [&](const torch::Tensor& t) {
    return t.view({batch, t.size(1), heads, width / heads}).transpose(1, 2);
  };
  const auto pooled = at::scaled_dot_product_attention(split(q_proj(tokens.narrow(1, 0, 1))), split(k_proj(tokens)),
                                                       split(v_proj(tokens)));
  return c_proj(pooled.transpose(1, 2).reshape({batch, width}));
}

ModifiedResNet::ModifiedResNet(const ImageTowerConfig& config, int embed_dim) {
  const int stem = config.width;
  conv1 = register_module("conv1", convolution(3, stem / 2, 3, 2));
  bn1 = register_module("bn1", BatchNorm(stem / 2));
  conv2 = register_module("conv2", convolution(stem / 2, stem / 2, 3));
  bn2 = register_module("bn2", BatchNorm(stem / 2));
  conv3 = register_module("conv3", convolution(stem / 2, stem, 3));
  bn3 = register_module("bn3", BatchNorm(stem));
  int channels = stem;
  for (std::size_t stage = 0; stage < layers.size(); ++stage) {
    const int planes = stem << stage;
    layers[stage] = torch::nn::Sequential();
    for (int block = 0; block < config.stage_blocks[stage]; ++block) {
      layers[stage]->push_back(Bottleneck(channels, planes, stage > 0 && block == 0 ? 2 : 1));
      channels = planes * 4;
    }
    register_module("layer" + std::to_string(stage + 1), layers[stage]);
  }
  const int side = config.image_size / 32;
  attnpool = register_module("attnpool", AttentionPool(side * side, channels, config.heads, embed_dim));
  for (const auto& layer : layers)
    for (const auto& block : layer->children()) torch::nn::init::zeros_(block->as<Bottleneck>()->bn3->weight);
}

torch::Tensor binomial_blur(const torch::Tensor& colours) {
  const auto taps = torch::tensor({0.25, 0.5, 0.25});
  return colours * torch::outer(taps, taps);
}

void ModifiedResNet::blur_stem() {
  const torch::NoGradGuard no_grad;
  conv1->weight.copy_(binomial_blur(torch::randn({conv1->weight.size(0), 3, 1, 1})));
}

torch::Tensor ModifiedResNet::forward(const torch::Tensor& pixels, const torch::Tensor&) {
  auto x = normalise_and_rectify(bn1, conv1(pixels));
  x = normalise_and_rectify(bn2, conv2(x));
  x = normalise_and_rectify(bn3, conv3(x));
  x = torch::avg_pool2d(x, 2);
  for (auto& layer : layers) x = layer->forward(x);
  return attnpool(x);
}

}  // namespace gondola
