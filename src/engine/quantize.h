#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/precision.h"
#include "base/thread_pool.h"
#include "checkpoint/tensor.h"
#include "engine/calibration.h"

namespace gondola {

/// What became of one linear layer, judged by the rows that the calibration kept of its inputs.
struct QuantizedLayer {
  std::string weight, bias;  ///< their full names
  Precision precision = Precision::int8;
  std::optional<float> alpha;     ///< of the smoothing (engine/block_weights.h); nothing where none is best
  double cosine = 1;              ///< of its int8 products with the exact ones, the mean product taken off both
  Tensor bf16_weight, bf16_bias;  ///< for keep_in_bf16
};

/// Quantises the linear layers of the transformer blocks below `prefix` ("visual.", ""), one thread a block: inputs are
/// centred and smoothed, which folds into what is before them; hidden channels are put in order of size; weights become
/// integers with a scale an output channel; the mean error folds into the bias. A layer whose cosine is too low all the
/// same is kept in bf16. `calibration` holds what each layer reads.
std::vector<QuantizedLayer> quantize_blocks(TensorMap& weights, const std::string& prefix, int layers,
                                            Calibration& calibration, ThreadPool& pool);

/// Puts the layer's bf16 weight, and the bias that goes with it, in the place of its integers.
void keep_in_bf16(TensorMap& weights, QuantizedLayer& layer);

/// Adds `shift` (embed_dim values) to what a tower embeds, as nearly as it can, by the bias of its last layer norm,
/// which its projection reads: the least change of the bias that does it.
void shift_embeddings(TensorMap& weights, const std::string& norm_bias, const std::string& projection,
                      std::span<const float> shift);

}  // namespace gondola
