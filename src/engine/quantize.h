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

/// The outcome for one linear layer, measured on the input rows that the calibration kept.
struct QuantizedLayer {
  std::string weight, bias;  ///< their full names
  Precision precision = Precision::int8;
  std::optional<float> alpha;     ///< of the smoothing (engine/block_weights.h); empty where none is best
  double cosine = 1;              ///< between its int8 and its exact products, each centred on its mean
  Tensor bf16_weight, bf16_bias;  ///< for keep_in_bf16
};

/// Quantises the linear layers of the transformer blocks below `prefix` ("visual.", ""), one thread per block. Inputs
/// are centred and smoothed, which folds into what produces them; hidden channels are sorted by size; weights become
/// integers with one scale per output channel; the mean error folds into the bias. A layer whose cosine is still too
/// low stays in bf16. `calibration` holds the inputs of each layer.
std::vector<QuantizedLayer> quantize_blocks(TensorMap& weights, const std::string& prefix, int layers,
                                            Calibration& calibration, ThreadPool& pool);

/// Replaces the layer's integers by its bf16 weight and the bias that belongs to it.
void keep_in_bf16(TensorMap& weights, QuantizedLayer& layer);

/// Shifts a tower's embeddings by `shift` (embed_dim values), as closely as possible, through the bias of the last
/// layer norm, which the projection reads: the smallest change of the bias that does it.
void shift_embeddings(TensorMap& weights, const std::string& norm_bias, const std::string& projection,
                      std::span<const float> shift);

}  // namespace gondola
