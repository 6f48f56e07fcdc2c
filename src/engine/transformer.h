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
  std::size_t pooled = 0;  ///< the row within it that stands for it, where there is one
};

/// Tokens that a thread takes through a tower together, about: they make good use of a panel of weights.
inline constexpr std::size_t tokens_at_a_time = 200;

struct TransformerConfig : CpuOptions {
  TransformerConfig() = default;
  /// Of a tower's configuration (ImageTowerConfig, TextTowerConfig).
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

/// The memory of one pass. `tokens` is the residual stream, rows × width, which a caller fills. The buffers whose name
/// begins with pooled have a row for each sequence.
struct TransformerBuffers {
  TransformerBuffers(Workspace& workspace, const Kernels& kernels, const TransformerConfig& config, std::size_t threads,
                     std::size_t rows, std::size_t sequences, std::size_t longest);

  float* tokens;
  OperandBuffer normed;    ///< rows × width: normalised tokens, then the attention's result
  OperandBuffer prepared;  ///< rows × max(width, mlp_width) in bf16 or int8: what the layer after those reads
  float* wide;             ///< rows × max(3·width, mlp_width): queries, keys and values, then the hidden layer
  float* pooled_tokens;
  OperandBuffer pooled_normed;
  float* pooled_queries;
  float* scratch;  ///< scratch_size for each thread
  std::size_t scratch_size;
};

Epilogue epilogue_of(Activation activation);

/// What attention computes in where the linear layers run in `layers`.
Precision attention_precision(const Kernels& kernels, Precision layers, std::size_t head_width);

/// And what products compute in that are not to be int8 there.
Precision float_precision(const Kernels& kernels, Precision layers);

/// One residual attention block (OpenAI clip/model.py, ResidualAttentionBlock): x + attention(norm(x)), then
/// x + mlp(norm(x)).
class TransformerBlock {
 public:
  TransformerBlock() = default;
  TransformerBlock(const Kernels& kernels, const Weights& weights, const TransformerConfig& config);

  /// tokens → tokens, for every row.
  void forward(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
               std::size_t rows) const;

  /// The same for the pooled row of each sequence only: tokens → pooled_tokens. Exact, since no row of a block's
  /// result depends on another.
  void forward_pooled(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
                      std::size_t rows) const;

 private:
  void attend(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
              bool pooled) const;
  void mlp(const Team& team, std::size_t rows, const TransformerBuffers& buffers, float* tokens,
           const OperandBuffer& normed) const;
  /// The hidden layer in int8: wide → hidden.
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
  /// `weights` holds resblocks.0.… and so on; the blocks are packed by all threads of the pool.
  Transformer(const Kernels& kernels, const Weights& weights, const TransformerConfig& config, ThreadPool& pool);

  const TransformerConfig& config() const { return config_; }

  /// All blocks on `tokens`, which have to be complete in every thread's eyes (Team::wait); so is the result. With
  /// `pooled_only` the result is pooled_tokens, else it is tokens.
  void forward(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
               std::size_t rows, bool pooled_only) const;

 private:
  TransformerConfig config_;
  std::vector<TransformerBlock> blocks_;
};

}  // namespace gondola
