#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/tensor.h"
#include "engine/weights.h"

namespace gondola {

/// The fp32 weights of one residual attention block ("ln_1.weight", "attn.in_proj_weight", …), with rewrites that do
/// not change what the block computes.
class BlockWeights {
 public:
  explicit BlockWeights(const Weights& weights);

  std::vector<float>& operator[](const std::string& name) { return values_.at(name); }
  std::size_t width() const { return values_.at("ln_1.weight").size(); }
  /// Moves the result out.
  TensorMap take_tensors();

  /// Divides the inputs of the layer with this weight by `scales`, one per channel. Its columns are multiplied by them,
  /// and what produces the inputs is divided: a layer norm, or the value rows of in_proj.
  void smooth(const std::string& weight, std::span<const float> scales);

  /// Subtracts `centre`, one value per channel, from the inputs of a layer: the bias that produces them loses it, and
  /// the layer's own bias makes up for it. Exact for attention's values too, since attention weights sum to one.
  void shift(const std::string& weight, const std::string& bias, std::span<const float> centre);

  /// Permutes the channels of the hidden layer: channel i becomes the former order[i].
  void reorder_hidden(std::span<const std::size_t> order);

 private:
  std::map<std::string, std::vector<float>> values_;
};

/// The linear layers of a block in execution order: in_proj, out_proj, c_fc, c_proj.
struct BlockLayer {
  const char* weight;
  const char* bias;
};
inline constexpr BlockLayer block_layers[] = {{"attn.in_proj_weight", "attn.in_proj_bias"},
                                              {"attn.out_proj.weight", "attn.out_proj.bias"},
                                              {"mlp.c_fc.weight", "mlp.c_fc.bias"},
                                              {"mlp.c_proj.weight", "mlp.c_proj.bias"}};

/// The scales of SmoothQuant (arXiv 2211.10438, equation 4): s_j = max|x_j|^alpha / max|w_j|^(1 − alpha) for input
/// channel j and the column that reads it; 1 where either is zero. `weight` is out × in.
std::vector<float> smoothing_scales(std::span<const float> largest_input, std::span<const float> weight, float alpha);

/// Centres and smooths the weights of a block without calibration: takes a layer norm's outputs to be normally
/// distributed, with its weight as standard deviation and its bias as mean.
TensorMap smooth_from_layer_norms(const Weights& weights);

}  // namespace gondola
