#include "engine/transformer.h"

#include <algorithm>
#include <cmath>

#include "engine/block_weights.h"
#include "kernels/attention.h"

namespace gondola {

namespace {

/// Takes room for rows in any precision of up to `bytes` bytes per value.
OperandBuffer take_operand(Workspace& workspace, std::size_t rows, std::size_t width, std::size_t bytes) {
  const std::size_t scales = rows * DepthBlocks(width).count();
  float* data = workspace.take((rows * width * bytes + sizeof(float) - 1) / sizeof(float));
  return {data, reinterpret_cast<RowScale*>(workspace.take(scales * sizeof(RowScale) / sizeof(float)))};
}

std::size_t count_rows(std::span<const Sequence> sequences) {
  std::size_t rows = 0;
  for (const Sequence& sequence : sequences) rows += sequence.length;
  return rows;
}

std::size_t max_length(std::span<const Sequence> sequences) {
  return sequences.empty() ? 0 : std::ranges::max(sequences, {}, &Sequence::length).length;
}

/// tokens → pooled_tokens
void copy_pooled_tokens(const Team& team, const TransformerBuffers& b, std::span<const Sequence> sequences,
                        std::size_t width) {
  const Range mine = team.share(sequences.size());
  for (std::size_t i = mine.first; i < mine.last; ++i)
    std::copy_n(b.tokens + (sequences[i].first + sequences[i].pooled) * width, width, b.pooled_tokens + i * width);
}

}  // namespace

TransformerBuffers::TransformerBuffers(Workspace& workspace, const Kernels& kernels, const TransformerConfig& config,
                                       std::size_t threads, std::span<const Sequence> sequences)
    : rows(count_rows(sequences)),
      tokens(workspace.take(rows * config.width)),
      normed(take_operand(workspace, rows, config.width, sizeof(float))),
      prepared(take_operand(workspace, rows, std::max(config.width, config.mlp_width), sizeof(std::uint16_t))),
      wide(workspace.take(rows * std::max(3 * config.width, config.mlp_width))),
      pooled_tokens(workspace.take(sequences.size() * config.width)),
      pooled_normed(take_operand(workspace, sequences.size(), config.width, sizeof(float))),
      pooled_queries(workspace.take(sequences.size() * config.width)),
      scratch(nullptr),
      scratch_size(attention_scratch_size(kernels, max_length(sequences), config.width / config.heads)) {
  scratch = workspace.take(threads * scratch_size);
}

Epilogue epilogue_of(Activation activation) {
  constexpr Epilogue epilogues[] = {Epilogue::gelu, Epilogue::gelu_tanh, Epilogue::quick_gelu};
  return epilogues[static_cast<std::size_t>(activation)];
}

Precision attention_precision(const Kernels& kernels, Precision layers, std::size_t head_width) {
  const bool bf16 = layers != Precision::fp32 && kernels.native_bf16 && head_width % 2 == 0;
  return bf16 ? Precision::bf16 : Precision::fp32;
}

Precision float_precision(const Kernels& kernels, Precision layers) {
  if (layers != Precision::int8) return layers;
  return kernels.native_bf16 ? Precision::bf16 : Precision::fp32;
}

TransformerBlock::TransformerBlock(const Kernels& kernels, const Weights& weights, const TransformerConfig& config)
    : kernels_(&kernels), config_(config) {
  // Rows [first, first + out) of a weight and its bias, multiplied by `scale`.
  const auto linear = [&](const std::string& weight_name, const std::string& bias_name, std::size_t in,
                          std::size_t first, std::size_t out, float scale = 1) {
    const FloatArray bias = weights[bias_name];
    const std::span<const float> biases = bias.values().subspan(first, out);
    if (config.precision == Precision::int8 && weights.is_int8(weight_name) && in % group_bytes == 0) {
      const FloatArray scales = weights[scale_name(weight_name)];
      const Int8Rows rows = {weights.integers(weight_name), scales.values()};
      return Linear(kernels, rows.rows(first, out), biases, in, out, scale);
    }
    const FloatArray weight = weights[weight_name];
    // Layers that a quantised model left in floating point need more than int8.
    const Precision precision = weights.quantized() ? float_precision(kernels, config.precision) : config.precision;
    Linear layer(kernels, precision, weight.values().subspan(first * in, out * in), biases, in, out, scale);
    if (config.calibration != nullptr) layer.record_inputs((*config.calibration)[weights.full_name(weight_name)]);
    return layer;
  };
  const std::size_t width = config.width, mlp_width = config.mlp_width;
  attention_precision_ = attention_precision(kernels, config.precision, width / config.heads);
  attention_norm_ = LayerNorm(kernels, weights, "ln_1", config.norm_eps);
  mlp_norm_ = LayerNorm(kernels, weights, "ln_2", config.norm_eps);
  // in_proj holds the rows of the queries, then of the keys, then of the values.
  const float scale = 1 / std::sqrt(static_cast<float>(width / config.heads));
  query_ = linear("attn.in_proj_weight", "attn.in_proj_bias", width, 0, width, scale);
  key_value_ = linear("attn.in_proj_weight", "attn.in_proj_bias", width, width, 2 * width);
  attention_out_ = linear("attn.out_proj.weight", "attn.out_proj.bias", width, 0, width);
  hidden_ = linear("mlp.c_fc.weight", "mlp.c_fc.bias", width, 0, mlp_width);
  mlp_out_ = linear("mlp.c_proj.weight", "mlp.c_proj.bias", mlp_width, 0, width);
}

void TransformerBlock::forward(const Team& team, const TransformerBuffers& b,
                               std::span<const Sequence> sequences) const {
  const std::size_t width = config_.width;
  const RowsOut normed = b.normed.rows(query_.precision(), width);
  attention_norm_.apply(team, b.rows, {b.tokens, width}, normed);
  team.wait();
  const RowsOut wide = {b.wide, 3 * width, attention_precision_};
  query_.apply(team, b.rows, normed, wide);
  key_value_.apply(team, b.rows, normed, wide.column(width));
  team.wait();
  finish(team, b, sequences, false);
}

void TransformerBlock::forward_pooled(const Team& team, const TransformerBuffers& b,
                                      std::span<const Sequence> sequences) const {
  const std::size_t width = config_.width, count = sequences.size();
  copy_pooled_tokens(team, b, sequences, width);
  const RowsOut normed = b.normed.rows(query_.precision(), width);
  const RowsOut pooled_normed = b.pooled_normed.rows(query_.precision(), width);
  attention_norm_.apply(team, b.rows, {b.tokens, width}, normed);
  team.wait();
  attention_norm_.apply(team, count, {b.pooled_tokens, width}, pooled_normed);
  key_value_.apply(team, b.rows, normed, RowsOut{b.wide, 3 * width, attention_precision_}.column(width));
  team.wait();
  query_.apply(team, count, pooled_normed, {b.pooled_queries, width, attention_precision_});
  team.wait();
  finish(team, b, sequences, true);
}

void TransformerBlock::finish(const Team& team, const TransformerBuffers& b, std::span<const Sequence> sequences,
                              bool pooled) const {
  const std::size_t width = config_.width, rows = pooled ? sequences.size() : b.rows;
  const RowsOut tokens = {pooled ? b.pooled_tokens : b.tokens, width};
  const OperandBuffer& normed = pooled ? b.pooled_normed : b.normed;
  attend(team, b, sequences, pooled);
  team.wait();
  const Operand attended =
      attention_out_.prepare(team, rows, normed.rows(attention_out_.input_precision(), width), b.prepared);
  attention_out_.apply(team, rows, attended, tokens, Epilogue::none, tokens);
  team.wait();
  mlp(team, rows, b, tokens, normed);
}

void TransformerBlock::attend(const Team& team, const TransformerBuffers& b, std::span<const Sequence> sequences,
                              bool pooled) const {
  const std::size_t width = config_.width, head_width = width / config_.heads;
  const Range mine = team.share(sequences.size() * config_.heads);
  for (std::size_t i = mine.first; i < mine.last; ++i) {
    const std::size_t index = i / config_.heads, column = i % config_.heads * head_width;
    const Sequence& sequence = sequences[index];
    const RowsOut wide = RowsOut{b.wide, 3 * width, attention_precision_}.from(sequence.first).column(column);
    const RowsOut pooled_query = RowsOut{b.pooled_queries, width, attention_precision_}.from(index).column(column);
    const OperandBuffer& result = pooled ? b.pooled_normed : b.normed;
    const RowsOut out = result.rows(attention_out_.input_precision(), width).from(pooled ? index : sequence.first);
    AttentionArguments a;
    a.queries = pooled ? 1 : sequence.length;
    a.keys = sequence.length;
    a.head_width = head_width;
    a.precision = attention_precision_;
    a.q = pooled ? pooled_query.data : wide.data;
    a.q_stride = pooled ? width : 3 * width;
    a.k = wide.column(width).data;
    a.v = wide.column(2 * width).data;
    a.kv_stride = 3 * width;
    a.causal = config_.causal;
    a.visible_to_first = pooled ? sequence.pooled + 1 : 1;
    a.out = out.column(column);
    a.scratch = b.scratch + team.rank() * b.scratch_size;
    attention(*kernels_, a);
  }
}

void TransformerBlock::mlp(const Team& team, std::size_t rows, const TransformerBuffers& b, const RowsOut& tokens,
                           const OperandBuffer& normed_buffer) const {
  const std::size_t width = config_.width, mlp_width = config_.mlp_width;
  const RowsOut normed = normed_buffer.rows(hidden_.precision(), width);
  mlp_norm_.apply(team, rows, tokens, normed);
  team.wait();
  RowsOut hidden = {b.wide, mlp_width};
  if (mlp_out_.precision() != Precision::fp32) hidden = b.prepared.rows(mlp_out_.precision(), mlp_width);
  if (mlp_out_.precision() == Precision::int8) {
    quantize_hidden(team, rows, b, normed, hidden);
  } else {
    hidden_.apply(team, rows, normed, hidden, epilogue_of(config_.activation));
    team.wait();
  }
  mlp_out_.apply(team, rows, hidden, tokens, Epilogue::none, tokens);
  team.wait();
}

void TransformerBlock::quantize_hidden(const Team& team, std::size_t rows, const TransformerBuffers& b,
                                       const Operand& normed, const RowsOut& hidden) const {
  const DepthBlocks blocks(config_.mlp_width);
  // A single thread takes one block at a time, which then is still in its cache; a team takes all, to wait less.
  const std::size_t step = team.size() == 1 ? 1 : blocks.count();
  for (std::size_t block = 0; block < blocks.count(); block += step) {
    const Range columns = {blocks.first(block), blocks.first(block + step)};
    const RowsOut wide = {b.wide, columns.size()};
    hidden_.apply_columns(team, columns, rows, normed, wide, epilogue_of(config_.activation));
    team.wait();
    const Range mine = team.share(rows);
    kernels_->convert({mine.size(), columns.size(), b.wide + mine.first * wide.stride, wide.stride,
                       hidden.block(blocks, block).from(mine.first)});
    team.wait();
  }
}

Transformer::Transformer(const Kernels& kernels, const Weights& weights, const TransformerConfig& config,
                         ThreadPool& pool)
    : config_(config), blocks_(config.layers) {
  pool.parallel_for(blocks_.size(), [&](std::size_t layer, int) {
    const Weights block = weights.below("resblocks." + std::to_string(layer));
    if (config.precision == Precision::int8 && !block.quantized()) {
      blocks_[layer] = TransformerBlock(kernels, Weights(smooth_from_layer_norms(block)), config);
    } else {
      blocks_[layer] = TransformerBlock(kernels, block, config);
    }
  });
}

void Transformer::forward(const Team& team, const TransformerBuffers& buffers, std::span<const Sequence> sequences,
                          bool pooled_only) const {
  for (const TransformerBlock& block : blocks_) {
    if (pooled_only && !config_.every_token && &block == &blocks_.back()) {
      block.forward_pooled(team, buffers, sequences);
    } else {
      block.forward(team, buffers, sequences);
    }
  }
  if (!pooled_only || !config_.every_token) return;
  copy_pooled_tokens(team, buffers, sequences, config_.width);
  team.wait();
}

}  // namespace gondola
