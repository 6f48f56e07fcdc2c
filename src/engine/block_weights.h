#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/tensor.h"
#include "engine/weights.h"

namespace gondola {

/// The weights of one residual attention block in fp32 ("ln_1.weight", "attn.in_proj_weight", …), to be rewritten in
/// ways that leave what the block computes as it is.
class BlockWeights {
 public:
  explicit BlockWeights(const Weights& weights);

  std::vector<float>& operator[](const std::string& name) { return values_.at(name); }
  std::size_t width() const { return values_.at("ln_1.weight").size(); }
  /// The result; nothing is left here.
  TensorMap take_tensors();

  /// What a layer reads comes divided by `scales`, a value a channel: its columns grow by them, and what writes the
  /// channels shrinks: a layer norm, or the rows of in_proj that make the values.
  void smooth(const std::string& weight, std::span<const float> scales);

  /// What a layer reads comes less `centre`, a value a channel: the bias before it gives it up, and its own takes over.
  /// For the values too, since attention's weights add up to one.
  void shift(const std::string& weight, const std::string& bias, std::span<const float> centre);

  /// Puts the channels of the hidden layer in another order.
  void reorder_hidden(std::span<const std::size_t> order);

 private:
  std::map<std::string, std::vector<float>> values_;
};

/// The linear layers of a block, in the order in which they run: in_proj, out_proj, c_fc, c_proj.
struct BlockLayer {
  const char* weight;
  const char* bias;
};
inline constexpr BlockLayer block_layers[] = {{"attn.in_proj_weight", "attn.in_proj_bias"},
                                              {"attn.out_proj.weight", "attn.out_proj.bias"},
                                              {"mlp.c_fc.weight", "mlp.c_fc.bias"},
                                              {"mlp.c_proj.weight", "mlp.c_proj.bias"}};

/// SmoothQuant (arXiv 2211.10438, equation 4): s_j = max|x_j|^alpha / max|w_j|^(1 − alpha) of an input channel and the
/// column that reads it; 1 where either is zero. `weight` is out × in.
std::vector<float> smoothing_scales(std::span<const float> largest_input, std::span<const float> weight, float alpha);

/// The weights of a block, smoothed without calibration: a layer norm's outputs are taken to be normal, with its weight
/// as deviation and its bias as mean.
TensorMap smooth_by_norms(const Weights& weights);

}  // namespace gondola
