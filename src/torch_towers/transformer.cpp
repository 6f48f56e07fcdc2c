#include "torch_towers/transformer.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/functional/activation.h>
#include <torch/nn/init.h>

#include "torch_towers/recompute.h"

namespace gondola {
namespace {

/// x·σ(1.702 x) (OpenAI clip/model.py), which is silu(1.702 x) / 1.702. Its derivative is silu's at 1.702 x, so only x
/// is kept for the backward pass.
class QuickGelu : public torch::autograd::Function<QuickGelu> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x) {
    context->save_for_backward({x});
    return (x * slope).sigmoid_().mul_(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    return {at::silu_backward(gradients[0], context->get_saved_variables()[0] * slope)};
  }

 private:
  static constexpr double slope = 1.702;
};

}  // namespace

AttentionImpl::AttentionImpl(int width, int heads_) : heads(heads_) {
  in_proj_weight = register_parameter("in_proj_weight", torch::empty({3 * width, width}));
  in_proj_bias = register_parameter("in_proj_bias", torch::zeros({3 * width}));
  out_proj = register_module("out_proj", torch::nn::Linear(width, width));
  torch::nn::init::xavier_uniform_(in_proj_weight);  // as torch.nn.MultiheadAttention
  torch::nn::init::zeros_(out_proj->bias);
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& x, bool causal) {
  const auto batch = x.size(0), tokens = x.size(1), width = x.size(2);
  const auto qkv = torch::linear(x, in_proj_weight, in_proj_bias)
                       .view({batch, tokens, 3, heads, width / heads})
                       .permute({2, 0, 3, 1, 4})
                       .unbind(0);  // indexing would make three gradients of full size and sum them
  const auto mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], {}, 0.0, causal);
  return out_proj(mixed.transpose(1, 2).reshape({batch, tokens, width}));
}

MlpImpl::MlpImpl(int width, int mlp_width, Activation activation_) : activation(activation_) {
  c_fc = register_module("c_fc", torch::nn::Linear(width, mlp_width));
  c_proj = register_module("c_proj", torch::nn::Linear(mlp_width, width));
}

torch::Tensor MlpImpl::forward(const torch::Tensor& x) {
  const auto hidden = c_fc(x);
  switch (activation) {
    case Activation::gelu:
      return c_proj(torch::gelu(hidden));
    case Activation::gelu_tanh:
      return c_proj(torch::gelu(hidden, "tanh"));
    case Activation::quick_gelu:
      break;
  }
  return c_proj(QuickGelu::apply(hidden));
}

TransformerBlockImpl::TransformerBlockImpl(int width, int heads, int mlp_width, Activation activation,
                                           double norm_eps) {
  const auto norm = torch::nn::LayerNormOptions({width}).eps(norm_eps);
  ln_1 = register_module("ln_1", torch::nn::LayerNorm(norm));
  attn = register_module("attn", Attention(width, heads));
  ln_2 = register_module("ln_2", torch::nn::LayerNorm(norm));
  mlp = register_module("mlp", Mlp(width, mlp_width, activation));
}

torch::Tensor TransformerBlockImpl::forward(const torch::Tensor& x, bool causal) {
  const auto attended = x + attn(ln_1(x), causal);
  return attended + mlp(ln_2(attended));
}

TransformerImpl::TransformerImpl(int layers, int width, int heads, int mlp_width, Activation activation,
                                 double norm_eps) {
  register_module("resblocks", resblocks);
  for (int layer = 0; layer < layers; ++layer)
    resblocks->push_back(TransformerBlock(width, heads, mlp_width, activation, norm_eps));
}

torch::Tensor TransformerImpl::forward(torch::Tensor x, bool causal) {
  for (const auto& module : *resblocks) {
    auto* block = module->as<TransformerBlock>();
    const auto body = [block, causal](const torch::Tensor& y) { return block->forward(y, causal); };
    x = recompute ? recompute_in_backward(body, x) : body(x);
  }
  return x;
}

}  // namespace gondola
