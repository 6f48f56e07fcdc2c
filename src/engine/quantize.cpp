#include "engine/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/cpu.h"
#include "base/interrupt.h"
#include "engine/block_weights.h"
#include "engine/linear.h"
#include "kernels/kernels.h"

namespace gondola {
namespace {

/// A layer with a lower cosine stays in bf16. With random weights no layer of ViT-B/32 is below 0.9998, and the error
/// of all 48 together is two thousandths. Layers that read hidden channels a hundred times larger than the others,
/// which nothing can smooth, lie between 0.83 and 0.9992, and one of them costs the tower more than all others. Errors
/// that pass but still add up to too much show in the embeddings (pipeline/quantize.cpp).
constexpr double min_cosine = 0.998;

/// Multiplies `rows` (rows × in) by a weight (out × in) with the kernels; returns rows × out.
std::vector<float> product(const Kernels& kernels, Precision precision, const std::vector<float>& rows,
                           std::span<const float> weight, std::size_t in) {
  const std::size_t count = rows.size() / in, out = weight.size() / in;
  const Linear layer(kernels, precision, weight, {}, in, out);
  AlignedFloats inputs(rows.size()), prepared(rows.size());
  std::ranges::copy(rows, inputs.data());
  std::vector<RowScale> scales(count * DepthBlocks(in).count());
  const Operand operand = layer.prepare(Team(), count, {inputs.data(), in}, {prepared.data(), scales.data()});
  std::vector<float> products(count * out);
  layer.apply(Team(), count, operand, {products.data(), out});
  return products;
}

/// `rows` as the int8 product reads them: rounded to bytes and back.
std::vector<float> fake_quantized(const Kernels& kernels, const std::vector<float>& rows, std::size_t in) {
  const std::size_t count = rows.size() / in;
  const DepthBlocks blocks(in);
  std::vector<std::uint8_t> bytes(rows.size());
  std::vector<RowScale> scales(count * blocks.count());
  kernels.convert({count, in, rows.data(), in, {bytes.data(), in, Precision::int8, scales.data(), blocks.count()}});
  std::vector<float> result(rows.size());
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t block = 0; block < blocks.count(); ++block)
      for (std::size_t i = row * in + blocks.first(block); i < row * in + blocks.first(block + 1); ++i) {
        const RowScale& scale = scales[row * blocks.count() + block];
        result[i] = static_cast<float>(bytes[i] - scale.zero) * scale.scale;
      }
  return result;
}

/// How the products of one layer on its calibration rows differ from the exact ones.
struct Difference {
  double cosine = 1;              ///< as in QuantizedLayer, once the mean error is corrected
  std::vector<float> mean_error;  ///< exact − found, one per output
};

Difference compare(const std::vector<float>& exact, const std::vector<float>& found, std::size_t out) {
  const auto rows = static_cast<float>(exact.size() / out);
  Difference result;
  result.mean_error.resize(out);
  std::vector<float> mean(out);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    mean[i % out] += exact[i] / rows;
    result.mean_error[i % out] += (exact[i] - found[i]) / rows;
  }
  double product = 0, left = 0, right = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double a = exact[i] - mean[i % out], b = found[i] + result.mean_error[i % out] - mean[i % out];
    product += a * b;
    left += a * a;
    right += b * b;
  }
  if (left != 0) result.cosine = right > 0 ? product / std::sqrt(left * right) : 0;
  return result;
}

std::vector<float> times(std::vector<float> rows, std::span<const float> scales) {
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] *= scales[i % scales.size()];
  return rows;
}

std::vector<float> divided(std::vector<float> rows, std::span<const float> scales) {
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] /= scales[i % scales.size()];
  return rows;
}

/// Quantises all layers of one block to int8.
class BlockQuantizer {
 public:
  BlockQuantizer(const Kernels& kernels, const Weights& weights, Calibration& calibration)
      : kernels_(kernels), weights_(weights), block_(weights), calibration_(calibration) {}

  TensorMap run(std::span<QuantizedLayer> report) {
    order_hidden();
    // Backwards, since centring and smoothing the inputs of out_proj rewrites in_proj.
    for (std::size_t i = 3; i-- > 0;) centre_and_smooth(i, report[i]);
    TensorMap tensors;
    for (std::size_t i = 0; i < std::size(block_layers); ++i) quantize(i, report[i], tensors);
    TensorMap others = block_.take_tensors();
    tensors.merge(others);
    return tensors;
  }

 private:
  LayerInputs& inputs(const BlockLayer& layer) { return calibration_[weights_.full_name(layer.weight)]; }

  /// Sorts the hidden channels by size: int8 inputs have one scale per block of the depth (kernels/packed_matrix.h).
  void order_hidden() {
    const LayerInputs& seen = inputs(block_layers[3]);
    const std::vector<float> deviation = seen.max_deviation(std::vector<float>(seen.width())), rows = seen.rows();
    std::vector<std::size_t> order(deviation.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return deviation[i]; });
    block_.reorder_hidden(order);
    const std::size_t width = order.size();
    for (std::size_t i = 0; i < rows.size(); ++i) rows_[3].push_back(rows[i / width * width + order[i % width]]);
  }

  /// Centres the inputs of a layer and smooths them with the alpha that gives the best products.
  void centre_and_smooth(std::size_t index, QuantizedLayer& layer) {
    const BlockLayer& names = block_layers[index];
    const LayerInputs& seen = inputs(names);
    const std::size_t in = seen.width(), out = block_[names.bias].size();
    std::vector<float> rows = seen.rows(), centre(in);
    for (std::size_t i = 0; i < rows.size(); ++i) centre[i % in] += rows[i] / static_cast<float>(rows.size() / in);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] -= centre[i % in];
    block_.shift(names.weight, names.bias, centre);

    const std::vector<float>& weight = block_[names.weight];
    const std::vector<float> deviation = seen.max_deviation(centre),
                             exact = product(kernels_, Precision::fp32, rows, weight, in);
    const auto cosine = [&](const std::vector<float>& scales) {
      const auto found = product(kernels_, Precision::int8, divided(rows, scales), times(weight, scales), in);
      return compare(exact, found, out).cosine;
    };
    std::vector<float> best(in, 1);
    double highest = cosine(best);
    for (const float alpha : {0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f}) {
      const std::vector<float> scales = smoothing_scales(deviation, weight, alpha);
      const double found = cosine(scales);
      if (found <= highest) continue;
      highest = found;
      best = scales;
      layer.alpha = alpha;
    }
    block_.smooth(names.weight, best);
    rows_[index] = divided(std::move(rows), best);
  }

  void quantize(std::size_t index, QuantizedLayer& layer, TensorMap& tensors) {
    const auto& [weight_name, bias_name] = block_layers[index];
    const std::vector<float>&weight = block_[weight_name], &rows = rows_[index];
    std::vector<float>& bias = block_[bias_name];
    const std::size_t out = bias.size(), in = weight.size() / out;
    std::vector<float> scales(out), stored(weight.size());
    std::vector<std::int8_t> integers(weight.size());
    for (std::size_t row = 0; row < out; ++row)
      scales[row] = quantize_row(std::span(weight).subspan(row * in, in), std::span(integers).subspan(row * in, in));
    for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<float>(integers[i]) * scales[i / in];
    // Measures what the file will hold, not the fewer bits that this processor may reduce it to.
    const Difference difference =
        compare(product(kernels_, Precision::fp32, rows, weight, in),
                product(kernels_, Precision::fp32, fake_quantized(kernels_, rows, in), stored, in), out);
    layer.weight = weights_.full_name(weight_name);
    layer.bias = weights_.full_name(bias_name);
    layer.cosine = difference.cosine;
    const auto outputs = static_cast<std::int64_t>(out);
    layer.bf16_weight = convert(make_tensor({outputs, static_cast<std::int64_t>(in)}, weight), DType::bfloat16);
    layer.bf16_bias = make_tensor({outputs}, bias);
    std::ranges::transform(bias, difference.mean_error, bias.begin(), std::plus<>());
    tensors[weight_name] = make_int8_tensor(layer.bf16_weight.shape, std::move(integers));
    tensors[scale_name(weight_name)] = make_tensor({outputs, 1}, std::move(scales));
  }

  const Kernels& kernels_;
  Weights weights_;
  BlockWeights block_;
  Calibration& calibration_;
  std::array<std::vector<float>, std::size(block_layers)> rows_;  ///< the inputs of each layer, centred and smoothed
};

}  // namespace

std::vector<QuantizedLayer> quantize_blocks(TensorMap& weights, const std::string& prefix, int layers,
                                            Calibration& calibration, ThreadPool& pool) {
  const Kernels& kernels = kernels_for(active_isa());
  const Weights transformer = Weights(weights).below(prefix + "transformer");
  constexpr std::size_t each = std::size(block_layers);
  std::vector<TensorMap> blocks(static_cast<std::size_t>(layers));
  std::vector<QuantizedLayer> report(blocks.size() * each);
  pool.parallel_for(blocks.size(), [&](std::size_t i, int) {
    stop_if_interrupted();
    const Weights block = transformer.below("resblocks." + std::to_string(i));
    blocks[i] = BlockQuantizer(kernels, block, calibration).run(std::span(report).subspan(i * each, each));
  });
  for (std::size_t i = 0; i < blocks.size(); ++i)
    for (auto& [name, tensor] : blocks[i])
      weights[prefix + "transformer.resblocks." + std::to_string(i) + "." + name] = std::move(tensor);
  for (QuantizedLayer& layer : report)
    if (layer.cosine < min_cosine) keep_in_bf16(weights, layer);
  return report;
}

void keep_in_bf16(TensorMap& weights, QuantizedLayer& layer) {
  layer.precision = Precision::bf16;
  weights[layer.weight] = layer.bf16_weight;
  weights[layer.bias] = layer.bf16_bias;
  weights.erase(scale_name(layer.weight));
}

void shift_embeddings(TensorMap& weights, const std::string& norm_bias, const std::string& projection,
                      std::span<const float> shift) {
  const std::vector<float> matrix = to_floats(weights.at(projection));  // width × dim
  std::vector<float> bias = to_floats(weights.at(norm_bias));
  const std::size_t dim = shift.size(), width = bias.size();
  const auto project = [&](const std::vector<double>& x) {
    std::vector<double> result(dim);
    for (std::size_t i = 0; i < matrix.size(); ++i) result[i % dim] += x[i / dim] * matrix[i];
    return result;
  };
  const auto project_back = [&](const std::vector<double>& x) {
    std::vector<double> result(width);
    for (std::size_t i = 0; i < matrix.size(); ++i) result[i / dim] += x[i % dim] * matrix[i];
    return result;
  };
  const auto square = [](const std::vector<double>& x) {
    return std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  };
  const auto add = [](std::vector<double>& x, double factor, const std::vector<double>& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += factor * y[i];
  };
  // Conjugate gradients on the normal equations (Hestenes and Stiefel 1952, section 10), from zero.
  std::vector<double> found(width), residual(shift.begin(), shift.end());
  std::vector<double> gradient = project_back(residual), step = gradient;
  const double shift_square = square(residual);
  double gradient_square = square(gradient);
  constexpr int max_steps = 200;
  constexpr double tolerance = 1e-6;  // a thousandth of the shift is left
  for (int i = 0; i < max_steps && square(residual) > tolerance * shift_square && gradient_square > 0; ++i) {
    const std::vector<double> projected = project(step);
    const double length = gradient_square / square(projected);
    add(found, length, step);
    add(residual, -length, projected);
    gradient = project_back(residual);
    const double next = square(gradient);
    for (std::size_t j = 0; j < width; ++j) step[j] = gradient[j] + next / gradient_square * step[j];
    gradient_square = next;
  }
  for (std::size_t i = 0; i < width; ++i) bias[i] += static_cast<float>(found[i]);
  weights[norm_bias] = make_tensor({static_cast<std::int64_t>(width)}, std::move(bias));
}

}  // namespace gondola
