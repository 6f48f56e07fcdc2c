#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/calibration.h"
#include "engine/team.h"
#include "engine/weights.h"
#include "kernels/aligned.h"
#include "kernels/kernels.h"

namespace gondola {

/// Rows of floats, `stride` apart.
struct ConstRows {
  const float* data = nullptr;
  std::size_t stride = 0;
  ConstRows(const float* values, std::size_t row_stride) : data(values), stride(row_stride) {}
  /// From rows of fp32.
  ConstRows(const RowsOut& rows) : data(static_cast<const float*>(rows.data)), stride(rows.stride) {}  // NOLINT
};

/// Input rows of a linear layer, in its precision.
struct Operand {
  const void* data = nullptr;
  std::size_t stride = 0;
  const RowScale* scales = nullptr;  ///< int8: [rows][blocks of the depth]
  Operand(const float* values, std::size_t row_stride) : data(values), stride(row_stride) {}
  Operand(const RowsOut& rows) : data(rows.data), stride(rows.stride), scales(rows.scales) {}  // NOLINT
};

/// Memory for the rows of an operand in any precision.
struct OperandBuffer {
  float* data = nullptr;  ///< room for the widest precision in use
  RowScale* scales = nullptr;
  RowsOut rows(Precision precision, std::size_t width) const {
    return {data, width, precision, scales, DepthBlocks(width).count()};
  }
};

/// This thread's part of a product. A team splits it by panels or by rows, whichever leaves fewer threads idle.
struct WorkSplit {
  Range rows, panels;
};
WorkSplit split_product(const Team& team, std::size_t rows, std::size_t panels);

/// An int8 weight, out × in: each value is its integer times the scale of its row.
struct Int8Rows {
  std::span<const std::int8_t> integers;
  std::span<const float> scales;
  Int8Rows rows(std::size_t first, std::size_t count) const {
    const std::size_t in = integers.size() / scales.size();
    return {integers.subspan(first * in, count * in), scales.subspan(first, count)};
  }
};

/// Stored int8 weights range from −127 to 127; packed ones from −int8_weight_limit to int8_weight_limit (Kernels).
inline constexpr int stored_int8_limit = 127;

/// Quantises one row of a weight to integers from −limit to limit; returns its scale.
float quantize_row(std::span<const float> values, std::span<std::int8_t> integers, int limit = stored_int8_limit);

/// A linear layer, y = W·x + b, with its weights packed for the kernels.
class Linear {
 public:
  Linear() = default;
  /// `weight` is out × in, as PyTorch stores it; an empty `bias` means none. Both are multiplied by `scale`. bf16 and
  /// int8 need `in` to be a multiple of 4, else the layer stays in fp32. In int8 each row of the weight has a scale.
  Linear(const Kernels& kernels, Precision precision, std::span<const float> weight, std::span<const float> bias,
         std::size_t in, std::size_t out, float scale = 1);
  /// The same from weights that are int8 already; `in` must be a multiple of 4.
  Linear(const Kernels& kernels, const Int8Rows& weight, std::span<const float> bias, std::size_t in, std::size_t out,
         float scale = 1);
  /// Makes an fp32 layer from a projection that is applied from the right: `weight` is in × out.
  static Linear from_projection(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias,
                                std::size_t in, std::size_t out);

  /// The precision that prepare() expects. An int8 layer needs fp32, since it takes whole rows to find their scales.
  Precision input_precision() const { return precision_ == Precision::bf16 ? Precision::bf16 : Precision::fp32; }

  /// Returns such rows in the precision that this layer reads: `rows` themselves, or converted from fp32 into `buffer`.
  /// All threads of the team convert, then wait.
  Operand prepare(const Team& team, std::size_t count, const RowsOut& rows, const OperandBuffer& buffer) const;

  /// Computes out = epilogue(W·in + b + residual) for `rows` rows, in fp32 or bf16; `residual` may be null or the same
  /// as `out`. Every thread of the team computes a part.
  void apply(const Team& team, std::size_t rows, const Operand& in, const RowsOut& out,
             Epilogue epilogue = Epilogue::none, ConstRows residual = {nullptr, 0}) const;

  /// Computes only `columns` of epilogue(W·in + b). columns.first must start a panel; it becomes column 0 of `out`.
  void apply_columns(const Team& team, Range columns, std::size_t rows, const Operand& in, const RowsOut& out,
                     Epilogue epilogue) const;

  /// From now on records this layer's inputs in `inputs`; the layer must be fp32.
  void record_inputs(LayerInputs& inputs) { inputs_ = &inputs; }

  Precision precision() const { return precision_; }
  std::size_t out() const { return out_; }
  std::size_t panels() const;
  PackedMatrix packed() const;
  const float* bias() const { return bias_.data(); }

 private:
  GemmArguments product(const Operand& in, const RowsOut& out, Epilogue epilogue, const WorkSplit& mine) const;
  /// Packs a bf16 or int8 weight. write(column, values) fills in one column and returns its scale, which int8 uses.
  template <class Write>
  void pack(const Write& write);
  void set_bias(std::span<const float> bias, float scale);
  std::byte* panel_bytes() { return reinterpret_cast<std::byte*>(packed_.data()); }

  const Kernels* kernels_ = nullptr;
  Precision precision_ = Precision::fp32;
  std::size_t in_ = 0, out_ = 0;
  AlignedFloats packed_, bias_;
  AlignedFloats scales_;            ///< int8: one per column
  std::vector<std::int32_t> sums_;  ///< int8: [blocks of the depth][padded columns]
  LayerInputs* inputs_ = nullptr;
};

/// A layer normalisation; each thread of the team computes some of the rows.
class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias, double eps);
  /// From NAME.weight and NAME.bias.
  LayerNorm(const Kernels& kernels, const Weights& weights, const std::string& name, double eps);
  void apply(const Team& team, std::size_t rows, ConstRows in, const RowsOut& out) const;

 private:
  const Kernels* kernels_ = nullptr;
  std::size_t width_ = 0;
  float eps_ = 0;
  AlignedFloats weight_, bias_;
};

}  // namespace gondola
