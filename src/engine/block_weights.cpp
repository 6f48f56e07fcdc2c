#include "engine/block_weights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace gondola {
namespace {

constexpr const char* weight_names[] = {
    "ln_1.weight",          "ln_1.bias",          "attn.in_proj_weight", "attn.in_proj_bias",
    "attn.out_proj.weight", "attn.out_proj.bias", "ln_2.weight",         "ln_2.bias",
    "mlp.c_fc.weight",      "mlp.c_fc.bias",      "mlp.c_proj.weight",   "mlp.c_proj.bias"};

void divide(std::span<float> values, std::span<const float> scales) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] /= scales[i];
}

}  // namespace

BlockWeights::BlockWeights(const Weights& weights) {
  for (const char* name : weight_names) {
    const FloatArray array = weights[name];
    values_[name] = {array.values().begin(), array.values().end()};
  }
}

TensorMap BlockWeights::take_tensors() {
  TensorMap tensors;
  for (auto& [name, values] : values_) {
    const auto size = static_cast<std::int64_t>(values.size());
    tensors[name] = make_tensor({size}, std::move(values));
  }
  for (const auto& [weight, bias] : block_layers) {
    Tensor& tensor = tensors.at(weight);
    const std::int64_t out = tensors.at(bias).shape[0];
    tensor.shape = {out, tensor.shape[0] / out};
  }
  return tensors;
}

void BlockWeights::smooth(const std::string& weight, std::span<const float> scales) {
  std::vector<float>& columns = values_.at(weight);
  const std::size_t in = scales.size();
  for (std::size_t first = 0; first < columns.size(); first += in)
    for (std::size_t i = 0; i < in; ++i) columns[first + i] *= scales[i];
  if (weight == "attn.out_proj.weight") {
    const std::size_t first = 2 * in;  // queries, keys, values
    float* values = values_.at("attn.in_proj_weight").data() + first * in;
    for (std::size_t row = 0; row < in; ++row, values += in) {
      for (std::size_t i = 0; i < in; ++i) values[i] /= scales[row];
    }
    divide(std::span(values_.at("attn.in_proj_bias")).subspan(first), scales);
    return;
  }
  const std::string norm = weight == "attn.in_proj_weight" ? "ln_1" : "ln_2";
  divide(values_.at(norm + ".weight"), scales);
  divide(values_.at(norm + ".bias"), scales);
}

void BlockWeights::shift(const std::string& weight, const std::string& bias, std::span<const float> centre) {
  const std::size_t in = centre.size();
  std::vector<float>& own = values_.at(bias);
  const float* rows = values_.at(weight).data();
  for (std::size_t row = 0; row < own.size(); ++row)
    own[row] += static_cast<float>(std::inner_product(centre.begin(), centre.end(), rows + row * in, 0.0));
  const std::span<float> before = weight == "attn.out_proj.weight"
                                      ? std::span(values_.at("attn.in_proj_bias")).subspan(2 * in)
                                  : weight == "attn.in_proj_weight" ? std::span(values_.at("ln_1.bias"))
                                                                    : std::span(values_.at("ln_2.bias"));
  for (std::size_t i = 0; i < in; ++i) before[i] -= centre[i];
}

void BlockWeights::reorder_hidden(std::span<const std::size_t> order) {
  const std::vector<float> rows = values_.at("mlp.c_fc.weight"), biases = values_.at("mlp.c_fc.bias"),
                           columns = values_.at("mlp.c_proj.weight");
  const std::size_t in = width(), hidden = order.size();
  for (std::size_t i = 0; i < hidden; ++i) {
    std::copy_n(rows.data() + order[i] * in, in, values_.at("mlp.c_fc.weight").data() + i * in);
    values_.at("mlp.c_fc.bias")[i] = biases[order[i]];
    for (std::size_t row = 0; row < in; ++row)
      values_.at("mlp.c_proj.weight")[row * hidden + i] = columns[row * hidden + order[i]];
  }
}

std::vector<float> smoothing_scales(std::span<const float> largest_input, std::span<const float> weight, float alpha) {
  const std::size_t in = largest_input.size();
  std::vector<float> largest_weight(in), scales(in, 1);
  for (std::size_t first = 0; first < weight.size(); first += in)
    for (std::size_t i = 0; i < in; ++i) largest_weight[i] = std::max(largest_weight[i], std::abs(weight[first + i]));
  for (std::size_t i = 0; i < in; ++i)
    if (largest_input[i] != 0 && largest_weight[i] > 0)
      scales[i] = std::pow(std::abs(largest_input[i]), alpha) / std::pow(largest_weight[i], 1 - alpha);
  return scales;
}

TensorMap smooth_from_layer_norms(const Weights& weights) {
  BlockWeights block(weights);
  const std::size_t width = block.width(), first = 2 * width;
  // Takes copies: shift and smooth rewrite the norm that the arguments may come from.
  const auto centre_and_smooth = [&](const BlockLayer& layer, const std::vector<float> centre,
                                     const std::vector<float> deviation) {
    constexpr float alpha = 0.5f;
    block.shift(layer.weight, layer.bias, centre);
    block.smooth(layer.weight, smoothing_scales(deviation, block[layer.weight], alpha));
  };
  // Mean and deviation of the values, which are linear in the norm's outputs.
  std::vector<float> centre(width), deviation(width);
  const std::vector<float>&in_proj = block["attn.in_proj_weight"], &biases = block["attn.in_proj_bias"];
  const std::vector<float>&norm_weight = block["ln_1.weight"], &norm_bias = block["ln_1.bias"];
  for (std::size_t row = 0; row < width; ++row) {
    double mean = biases[first + row], variance = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const float value = in_proj[(first + row) * width + i], spread = value * norm_weight[i];
      mean += value * norm_bias[i];
      variance += spread * spread;
    }
    centre[row] = static_cast<float>(mean);
    deviation[row] = static_cast<float>(std::sqrt(variance));
  }
  centre_and_smooth(block_layers[1], centre, deviation);
  centre_and_smooth(block_layers[0], norm_bias, norm_weight);
  centre_and_smooth(block_layers[2], block["ln_2.bias"], block["ln_2.weight"]);
  return block.take_tensors();
}

}  // namespace gondola
