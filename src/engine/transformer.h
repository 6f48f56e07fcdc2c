#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "config/model_config.h"
#include "engine/cpu_options.h"
#include "engine/linear.h"
#include "engine/team.h"
#include "engine/weights.h"
#include "engine/workspace.h"
#include "kernels/kernels.h"

namespace gondola {

/// The tokens of one image or text among the rows of a pass: [first, first + length).
struct Sequence {
  std::size_t first = 0, length = 0;
  std::size_t pooled = 0;  ///< which of its rows represents it, if it is pooled
};

/// About how many tokens a thread takes through a tower at a time: enough to make good use of a panel of weights.
inline constexpr std::size_t preferred_tokens = 200;

struct TransformerConfig : CpuOptions {
  TransformerConfig() = default;
  /// From a tower's configuration (ImageTowerConfig, TextTowerConfig).
  template <class Tower>
  TransformerConfig(const Tower& tower, const CpuOptions& options, bool is_causal)
      : CpuOptions(options),
        width(static_cast<std::size_t>(tower.width)),
        heads(static_cast<std::size_t>(tower.heads)),
        layers(static_cast<std::size_t>(tower.layers)),
        mlp_width(static_cast<std::size_t>(tower.mlp_width)),
        activation(tower.activation),
        norm_eps(tower.norm_eps),
        causal(is_causal) {}

  std::size_t width = 0, heads = 0, layers = 0, mlp_width = 0;
  Activation activation = Activation::gelu;
  double norm_eps = 1e-5;
  bool causal = false;
};

/// The memory of one forward pass. `tokens` is the residual stream, rows × width, which the caller fills. The buffers
/// named pooled_* have one row per sequence.
struct TransformerBuffers {
  TransformerBuffers(Workspace& workspace, const Kernels& kernels, const TransformerConfig& config, std::size_t threads,
                     std::span<const Sequence> sequences);

  std::size_t rows;  ///< of all sequences
  float* tokens;
  OperandBuffer normed;    ///< rows × width: normalised tokens, then attention's output
  OperandBuffer prepared;  ///< rows × max(width, mlp_width) in bf16 or int8: the next layer's operand
  float* wide;             ///< rows × max(3·width, mlp_width): queries, keys and values, then the hidden layer
  float* pooled_tokens;
  OperandBuffer pooled_normed;
  float* pooled_queries;
  float* scratch;  ///< scratch_size for each thread
  std::size_t scratch_size;
};

Epilogue epilogue_of(Activation activation);

/// The precision of attention where the linear layers run in `layers`.
Precision attention_precision(const Kernels& kernels, Precision layers, std::size_t head_width);

/// The precision, likewise, of products that must not be int8.
Precision float_precision(const Kernels& kernels, Precision layers);

/// One residual attention block (OpenAI clip/model.py, ResidualAttentionBlock): x + attention(norm(x)), then
/// x + mlp(norm(x)).
class TransformerBlock {
 public:
  TransformerBlock() = default;
  TransformerBlock(const Kernels& kernels, const Weights& weights, const TransformerConfig& config);

  /// Computes every row: tokens → tokens.
  void forward(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences) const;

  /// Computes only the pooled row of each sequence: tokens → pooled_tokens. Exact, since no row of a block's output
  /// depends on another.
  void forward_pooled(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences) const;

 private:
  /// What follows the queries, keys and values, which must be complete.
  void finish(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
              bool pooled) const;
  void attend(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
              bool pooled) const;
  void mlp(const Team& team, std::size_t rows, const TransformerBuffers& buffers, const RowsOut& tokens,
           const OperandBuffer& normed) const;
  /// Computes the hidden layer and converts it to int8: normed → wide → hidden.
  void quantize_hidden(const Team& team, std::size_t rows, const TransformerBuffers& buffers, const Operand& normed,
                       const RowsOut& hidden) const;

  const Kernels* kernels_ = nullptr;
  TransformerConfig config_;
  Precision attention_precision_ = Precision::fp32;
  LayerNorm attention_norm_, mlp_norm_;
  Linear query_, key_value_, attention_out_, hidden_, mlp_out_;
};

class Transformer {
 public:
  /// `weights` holds resblocks.0.… and so on; all threads of the pool pack the blocks.
  Transformer(const Kernels& kernels, const Weights& weights, const TransformerConfig& config, ThreadPool& pool);

  const TransformerConfig& config() const { return config_; }

  /// Runs all blocks on `tokens`, which must be complete for every thread (Team::wait), as is the result. The result is
  /// pooled_tokens with `pooled_only`, else tokens.
  void forward(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
               bool pooled_only) const;

 private:
  TransformerConfig config_;
  std::vector<TransformerBlock> blocks_;
};

}  // namespace gondola
