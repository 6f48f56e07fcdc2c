#include "engine/linear.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <numeric>
#include <vector>

#include "kernels/packed_matrix.h"

namespace gondola {

Linear::Linear(const Kernels& kernels, Precision precision, std::span<const float> weight, std::span<const float> bias,
               std::size_t in, std::size_t out, float scale)
    : kernels_(&kernels), precision_(in % group_bytes == 0 ? precision : Precision::fp32), in_(in), out_(out) {
  set_bias(bias, scale);
  if (precision_ == Precision::fp32) {
    const std::size_t width = kernels.panel_width;
    packed_ = AlignedFloats(packed_bytes(precision_, in, out, width) / sizeof(float));
    pack_columns(std::as_bytes(weight).data(), in * sizeof(float), in, out, width, panel_bytes());
    if (scale != 1) std::for_each_n(packed_.data(), packed_.size(), [scale](float& value) { value *= scale; });
    return;
  }
  std::vector<float> scaled(in);
  pack([&](std::size_t column, std::byte* values) {
    std::ranges::transform(weight.subspan(column * in, in), scaled.begin(),
                           [scale](float value) { return value * scale; });
    if (precision_ == Precision::int8)
      return quantize_row(scaled, {reinterpret_cast<std::int8_t*>(values), in}, kernels.int8_weight_limit);
    kernels.convert({1, in, scaled.data(), in, {values, in, precision_}});
    return 1.0f;
  });
}

Linear::Linear(const Kernels& kernels, const Int8Rows& weight, std::span<const float> bias, std::size_t in,
               std::size_t out, float scale)
    : kernels_(&kernels), precision_(Precision::int8), in_(in), out_(out) {
  set_bias(bias, scale);
  pack([&](std::size_t column, std::byte* values) {
    const auto integers = weight.integers.subspan(column * in, in);
    const std::span packed(reinterpret_cast<std::int8_t*>(values), in);
    const float row_scale = weight.scales[column] * scale;
    if (kernels.int8_weight_limit == stored_int8_limit) {
      std::ranges::copy(integers, packed.begin());
      return row_scale;
    }
    const std::vector<float> wide(integers.begin(), integers.end());
    return row_scale * quantize_row(wide, packed, kernels.int8_weight_limit);
  });
}

Linear Linear::from_projection(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias,
                               std::size_t in, std::size_t out) {
  std::vector<float> transposed(in * out);
  for (std::size_t i = 0; i < in; ++i)
    for (std::size_t o = 0; o < out; ++o) transposed[o * in + i] = weight[i * out + o];
  return Linear(kernels, Precision::fp32, transposed, bias, in, out);
}

float quantize_row(std::span<const float> values, std::span<std::int8_t> integers, int limit) {
  // On integers, so that the compiler vectorises: magnitudes compare like their bits, and adding 1.5·2^23 to a number
  // rounds it to an integer (half to even) in its lowest bits.
  std::int32_t bits = 0;
  for (float value : values) bits = std::max(bits, std::bit_cast<std::int32_t>(value) & 0x7fffffff);
  const float largest = bits == 0 ? 1 : std::bit_cast<float>(bits);
  constexpr float rounder = 12582912;
  const float scale = static_cast<float>(limit) / largest;
  std::ranges::transform(values, integers.begin(), [=](float value) {
    return static_cast<std::int8_t>(std::bit_cast<std::int32_t>(value * scale + rounder));
  });
  return largest / static_cast<float>(limit);
}

template <class Write>
void Linear::pack(const Write& write) {
  const std::size_t width = kernels_->panel_width, padded = padded_columns(out_, width);
  const std::size_t column_bytes = in_ * size_of(precision_);
  packed_ = AlignedFloats(packed_bytes(precision_, in_, out_, width) / sizeof(float));
  const DepthBlocks blocks(in_);
  if (precision_ == Precision::int8) {
    scales_ = AlignedFloats(padded);
    std::fill_n(scales_.data(), padded, 0.0f);
    sums_.assign(blocks.count() * padded, 0);
  }
  std::vector<std::byte> columns(width * column_bytes);
  for (std::size_t first = 0; first < out_; first += width) {
    const std::size_t count = std::min(width, out_ - first);
    for (std::size_t i = 0; i < count; ++i) {
      std::byte* column = columns.data() + i * column_bytes;
      const float scale = write(first + i, column);
      if (precision_ != Precision::int8) continue;
      scales_.data()[first + i] = scale;
      const auto* integers = reinterpret_cast<const std::int8_t*>(column);
      for (std::size_t block = 0; block < blocks.count(); ++block)
        sums_[block * padded + first + i] =
            std::accumulate(integers + blocks.first(block), integers + blocks.first(block + 1), std::int32_t{0});
    }
    pack_columns(columns.data(), column_bytes, column_bytes / group_bytes, count, width,
                 panel_bytes() + first * column_bytes);
  }
}

void Linear::set_bias(std::span<const float> bias, float scale) {
  if (bias.empty()) return;
  const std::size_t padded = padded_columns(out_, kernels_->panel_width);
  bias_ = AlignedFloats(padded);
  std::fill_n(bias_.data(), padded, 0.0f);
  std::transform(bias.begin(), bias.end(), bias_.data(), [scale](float value) { return value * scale; });
}

PackedMatrix Linear::packed() const {
  return {precision_, in_, out_, reinterpret_cast<const std::byte*>(packed_.data()), scales_.data(), sums_.data()};
}

std::size_t Linear::panels() const {
  return panel_count(out_, kernels_->panel_width);
}

WorkSplit split_product(const Team& team, std::size_t rows, std::size_t panels) {
  constexpr std::size_t tile_rows = 14;  // of AVX-512; close enough for the others
  const std::size_t tiles = (rows + tile_rows - 1) / tile_rows;
  // The units of the busiest thread; each panel costs all tiles, and each tile all panels.
  const auto rounds = [&](std::size_t units) { return (units + team.size() - 1) / team.size(); };
  if (rounds(panels) * tiles <= rounds(tiles) * panels) return {{0, rows}, team.share(panels)};
  return {team.share(rows), {0, panels}};
}

Operand Linear::prepare(const Team& team, std::size_t count, const RowsOut& rows, const OperandBuffer& buffer) const {
  if (rows.precision == precision_) return rows;
  assert(rows.precision == Precision::fp32);
  const RowsOut out = buffer.rows(precision_, in_);
  const Range mine = team.share(count);
  const auto* in = static_cast<const float*>(rows.data) + mine.first * rows.stride;
  kernels_->convert({mine.size(), in_, in, rows.stride, out.from(mine.first)});
  team.wait();
  return out;
}

GemmArguments Linear::product(const Operand& in, const RowsOut& out, Epilogue epilogue, const WorkSplit& mine) const {
  GemmArguments g;
  g.rows = mine.rows.size();
  g.left = static_cast<const std::byte*>(in.data) + mine.rows.first * in.stride * size_of(precision_);
  g.left_stride = in.stride;
  if (precision_ == Precision::int8) g.left_scales = in.scales + mine.rows.first * DepthBlocks(in_).count();
  g.right = packed();
  g.first_panel = mine.panels.first;
  g.last_panel = mine.panels.last;
  g.bias = bias_.data();
  g.epilogue = epilogue;
  const RowsOut mine_out = out.from(mine.rows.first);
  g.out = mine_out.data;
  g.out_stride = mine_out.stride;
  g.out_precision = mine_out.precision;
  return g;
}

void Linear::apply(const Team& team, std::size_t rows, const Operand& in, const RowsOut& out, Epilogue epilogue,
                   ConstRows residual) const {
  if (inputs_ != nullptr) {
    const Range seen = team.share(rows);
    inputs_->add(seen.size(), static_cast<const float*>(in.data) + seen.first * in.stride, in.stride, in_);
  }
  const WorkSplit mine = split_product(team, rows, panels());
  GemmArguments g = product(in, out, epilogue, mine);
  if (residual.data != nullptr) g.residual = residual.data + mine.rows.first * residual.stride;
  g.residual_stride = residual.stride;
  kernels_->gemm(g);
}

void Linear::apply_columns(const Team& team, Range columns, std::size_t rows, const Operand& in, const RowsOut& out,
                           Epilogue epilogue) const {
  const std::size_t width = kernels_->panel_width, first = columns.first / width;
  assert(columns.first % width == 0);
  WorkSplit mine = split_product(team, rows, panel_count(columns.size(), width));
  mine.panels = {first + mine.panels.first, first + mine.panels.last};
  GemmArguments g = product(in, out, epilogue, mine);
  g.out = static_cast<std::byte*>(g.out) - columns.first * size_of(out.precision);
  kernels_->gemm(g);
}

LayerNorm::LayerNorm(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias, double eps)
    : kernels_(&kernels), width_(weight.size()), eps_(static_cast<float>(eps)), weight_(width_), bias_(width_) {
  std::ranges::copy(weight, weight_.data());
  std::ranges::copy(bias, bias_.data());
}

LayerNorm::LayerNorm(const Kernels& kernels, const Weights& weights, const std::string& name, double eps)
    : LayerNorm(kernels, weights[name + ".weight"].values(), weights[name + ".bias"].values(), eps) {}

void LayerNorm::apply(const Team& team, std::size_t rows, ConstRows in, const RowsOut& out) const {
  const Range mine = team.share(rows);
  kernels_->layer_norm({mine.size(), width_, in.data + mine.first * in.stride, in.stride, weight_.data(), bias_.data(),
                        eps_, out.from(mine.first)});
}

}  // namespace gondola
