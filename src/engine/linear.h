#pragma once

#include <cstddef>
#include <span>

#include "engine/team.h"
#include "kernels/aligned.h"
#include "kernels/kernels.h"

namespace gondola {

/// Rows of floats, `stride` apart.
struct Rows {
  float* data = nullptr;
  std::size_t stride = 0;
};
struct ConstRows {
  const float* data = nullptr;
  std::size_t stride = 0;
  ConstRows(const float* values, std::size_t row_stride) : data(values), stride(row_stride) {}
  ConstRows(Rows rows) : data(rows.data), stride(rows.stride) {}  // NOLINT: a view may be narrowed
};

/// A linear layer, y = W·x + b, with its weights packed for the kernels.
class Linear {
 public:
  Linear() = default;
  /// `weight` is out × in, as PyTorch stores it; an empty `bias` is none. Both are multiplied by `scale`.
  Linear(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias, std::size_t in,
         std::size_t out, float scale = 1);
  /// `weight` is in × out: a projection that is applied from the right.
  static Linear from_projection(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias,
                                std::size_t in, std::size_t out);

  /// out = epilogue(W·in + b + residual) on `rows` rows; `residual` may be null, and may be `out`. Every thread of the
  /// team computes a part.
  void apply(const Team& team, std::size_t rows, ConstRows in, Rows out, Epilogue epilogue = Epilogue::none,
             ConstRows residual = {nullptr, 0}) const;

  std::size_t out() const { return out_; }
  std::size_t panels() const;
  const float* packed() const { return packed_.data(); }
  const float* bias() const { return bias_.data(); }

 private:
  void set_bias(std::span<const float> bias, float scale);

  const Kernels* kernels_ = nullptr;
  std::size_t in_ = 0, out_ = 0;
  AlignedFloats packed_, bias_;
};

/// How a team shares a product: by its panels or by its rows, whichever leaves fewer threads idle.
struct Shares {
  Range rows, panels;
};
Shares share_product(const Team& team, std::size_t rows, std::size_t panels);

/// A layer normalisation; every thread of the team does some rows.
class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias, double eps);
  void apply(const Team& team, std::size_t rows, ConstRows in, Rows out) const;

 private:
  const Kernels* kernels_ = nullptr;
  std::size_t width_ = 0;
  float eps_ = 0;
  AlignedFloats weight_, bias_;
};

}  // namespace gondola
