#include "engine/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/packed_matrix.h"

namespace gondola {

Linear::Linear(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias, std::size_t in,
               std::size_t out, float scale)
    : kernels_(&kernels), in_(in), out_(out), packed_(packed_size(in, out, kernels.panel_width)) {
  pack_transposed(weight.data(), in, in, out, kernels.panel_width, packed_.data());
  if (scale != 1) std::for_each_n(packed_.data(), packed_.size(), [scale](float& value) { value *= scale; });
  set_bias(bias, scale);
}

Linear Linear::from_projection(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias,
                               std::size_t in, std::size_t out) {
  Linear linear;
  linear.kernels_ = &kernels;
  linear.in_ = in;
  linear.out_ = out;
  linear.packed_ = AlignedFloats(packed_size(in, out, kernels.panel_width));
  pack(weight.data(), out, in, out, kernels.panel_width, linear.packed_.data());
  linear.set_bias(bias, 1);
  return linear;
}

void Linear::set_bias(std::span<const float> bias, float scale) {
  if (bias.empty()) return;
  const std::size_t padded = panels() * kernels_->panel_width;
  bias_ = AlignedFloats(padded);
  std::fill_n(bias_.data(), padded, 0.0f);
  std::transform(bias.begin(), bias.end(), bias_.data(), [scale](float value) { return value * scale; });
}

std::size_t Linear::panels() const {
  return panel_count(out_, kernels_->panel_width);
}

Shares share_product(const Team& team, std::size_t rows, std::size_t panels) {
  constexpr std::size_t tile_rows = 14;
  const std::size_t tiles = (rows + tile_rows - 1) / tile_rows;
  // Rounds of work of the busiest thread, times what a round of the other division is worth.
  const auto rounds = [&](std::size_t units) { return (units + team.size() - 1) / team.size(); };
  if (rounds(panels) * tiles <= rounds(tiles) * panels) return {{0, rows}, team.share(panels)};
  return {team.share(rows), {0, panels}};
}

void Linear::apply(const Team& team, std::size_t rows, ConstRows in, Rows out, Epilogue epilogue,
                   ConstRows residual) const {
  const Shares mine = share_product(team, rows, panels());
  GemmArguments g;
  g.rows = mine.rows.size();
  g.left = in.data + mine.rows.first * in.stride;
  g.left_stride = in.stride;
  g.panels = packed_.data();
  g.depth = in_;
  g.columns = out_;
  g.first_panel = mine.panels.first;
  g.last_panel = mine.panels.last;
  g.bias = bias_.data();
  if (residual.data != nullptr) g.residual = residual.data + mine.rows.first * residual.stride;
  g.residual_stride = residual.stride;
  g.epilogue = epilogue;
  g.out = out.data + mine.rows.first * out.stride;
  g.out_stride = out.stride;
  kernels_->gemm(g);
}

LayerNorm::LayerNorm(const Kernels& kernels, std::span<const float> weight, std::span<const float> bias, double eps)
    : kernels_(&kernels), width_(weight.size()), eps_(static_cast<float>(eps)), weight_(width_), bias_(width_) {
  std::ranges::copy(weight, weight_.data());
  std::ranges::copy(bias, bias_.data());
}

void LayerNorm::apply(const Team& team, std::size_t rows, ConstRows in, Rows out) const {
  const Range mine = team.share(rows);
  kernels_->layer_norm({mine.size(), width_, in.data + mine.first * in.stride, in.stride, weight_.data(), bias_.data(),
                        eps_, out.data + mine.first * out.stride, out.stride});
}

}  // namespace gondola
