#include "torch_towers/clip_model.h"

#include <torch/nn/init.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "base/error.h"
#include "torch_towers/tensors.h"

namespace gondola {
namespace {

std::shared_ptr<ImageTower> make_image_tower(const ModelConfig& config) {
  if (config.image.architecture == ImageArchitecture::vit)
    return std::make_shared<VisionTransformer>(config.image, config.embed_dim);
  return std::make_shared<ModifiedResNet>(config.image, config.embed_dim);
}

/// More groups waste less work on short texts, but make matrix products smaller.
constexpr std::int64_t most_text_groups = 4, least_texts_of_a_group = 16;

}  // namespace

torch::Tensor pooled_positions(const torch::Tensor& ids, const TextTowerConfig& text) {
  switch (text.pooling) {
    case TextPooling::largest_id:
      return ids.argmax(1);
    case TextPooling::end_token:
      return (ids == text.end_id).to(torch::kInt).argmax(1);
    case TextPooling::last:
      return torch::full({ids.size(0)}, ids.size(1) - 1, ids.options());
    case TextPooling::first:
      break;
  }
  return torch::zeros({ids.size(0)}, ids.options());
}

ClipModel::ClipModel(const ModelConfig& config) : config_(config) {
  const TextTowerConfig& text = config.text;
  visual_ = register_module("visual", make_image_tower(config));
  token_embedding_ = register_module("token_embedding", torch::nn::Embedding(text.vocab_size, text.width));
  positional_embedding_ = register_parameter("positional_embedding", torch::empty({text.context_length, text.width}));
  transformer_ = register_module(
      "transformer", Transformer(text.layers, text.width, text.heads, text.mlp_width, text.activation, text.norm_eps));
  ln_final_ =
      register_module("ln_final", torch::nn::LayerNorm(torch::nn::LayerNormOptions({text.width}).eps(text.norm_eps)));
  text_projection_ = register_parameter("text_projection", torch::empty({text.width, config.embed_dim}));
  if (text.projection_bias)
    text_projection_bias_ = register_parameter("text_projection_bias", torch::zeros({config.embed_dim}));
  const double scale = config.sigmoid_loss ? 10 : 1 / 0.07;  // arXiv 2303.15343, 3.2, and 2103.00020, 2.5
  logit_scale = register_parameter("logit_scale", torch::tensor(std::log(scale), torch::kFloat));
  if (config.sigmoid_loss) logit_bias = register_parameter("logit_bias", torch::tensor(-10, torch::kFloat));
  initialise_text();
}

void ClipModel::recompute_blocks(bool recompute) {
  for (const auto& module : modules())
    if (auto* transformer = module->as<Transformer>()) transformer->recompute = recompute;
}

void ClipModel::blur_stem() {
  std::dynamic_pointer_cast<ModifiedResNet>(visual_)->blur_stem();
}

void ClipModel::synchronise_batch_norms(const std::function<torch::Tensor(const torch::Tensor&)>& all_reduce_sum) {
  for (const auto& module : modules())
    if (auto* norm = module->as<BatchNorm>()) norm->all_reduce_sum = all_reduce_sum;
}

void ClipModel::initialise_text() {
  using torch::nn::init::normal_;
  const double width = config_.text.width;
  const double attention = 1 / std::sqrt(width), output = attention / std::sqrt(2 * config_.text.layers);
  normal_(token_embedding_->weight, 0, 0.02);
  normal_(positional_embedding_, 0, 0.01);
  for (const auto& module : *transformer_->resblocks) {
    auto& block = *module->as<TransformerBlock>();
    normal_(block.attn->in_proj_weight, 0, attention);
    normal_(block.attn->out_proj->weight, 0, output);
    normal_(block.mlp->c_fc->weight, 0, 1 / std::sqrt(2 * width));
    normal_(block.mlp->c_proj->weight, 0, output);
  }
  normal_(text_projection_, 0, attention);
}

torch::Tensor ClipModel::encode_group(const torch::Tensor& ids, const torch::Tensor& pooled) {
  const auto device = positional_embedding_.device();
  auto x = token_embedding_(ids.to(device)) + positional_embedding_.narrow(0, 0, ids.size(1));
  x = transformer_(x, config_.text.causal);
  const auto states = ln_final_(x.index({torch::arange(ids.size(0), device), pooled.to(device)}));
  const auto projected = torch::matmul(states, text_projection_);
  return text_projection_bias_.defined() ? projected + text_projection_bias_ : projected;
}

torch::Tensor ClipModel::encode_texts(const torch::Tensor& ids) {
  const auto pooled = pooled_positions(ids, config_.text);
  const std::int64_t groups = std::min(most_text_groups, ids.size(0) / least_texts_of_a_group);
  if (!config_.text.causal || groups < 2) return encode_group(ids, pooled);
  const auto order = pooled.argsort();
  std::vector<torch::Tensor> embeddings;
  for (const auto& group : order.tensor_split(groups)) {
    const auto positions = pooled.index_select(0, group);
    const auto longest = positions[-1].item<std::int64_t>() + 1;
    embeddings.push_back(encode_group(ids.index_select(0, group).narrow(1, 0, longest), positions));
  }
  return torch::cat(embeddings).index_select(0, order.argsort().to(positional_embedding_.device()));
}

TensorMap ClipModel::weights() const {
  TensorMap tensors;
  for (const auto& [name, tensor] : tensors_of(*this)) tensors[name] = from_torch(tensor);
  return tensors;
}

void ClipModel::load_weights(const TensorMap& weights) {
  std::set<std::string> loaded;
  for (const auto& [name, tensor] : tensors_of(*this)) {
    restore(tensor, weights, name);
    loaded.insert(name);
  }
  for (const auto& [name, unused] : weights)
    if (!loaded.contains(name) && !name.ends_with(".num_batches_tracked"))  // a step counter that nothing uses
      fail("{} has no place in this model", name);
}

}  // namespace gondola
