#pragma once

// The matrix product of gemm_avx2.cpp and gemm_avx512.cpp.
//
// A tile of up to MaxRows rows and one panel of two vectors accumulates in registers while the depth runs: each step
// loads two vectors of the packed panel and broadcasts one float of every row. The left operand is read where it lies.
// Loops, from outside: blocks of rows, panels, blocks of the depth, tiles, depth.
#include "kernels/gemm.h"
#include "kernels/simd_math.h"

namespace gondola {
namespace {

constexpr std::size_t panel_width = 2 * lanes;
/// The depth of a block: its part of a panel (96 KiB with AVX-512) stays in the second-level cache for all row tiles.
constexpr std::size_t block_depth = 768;
/// Rows of a block, whose sums (32 KiB with AVX-512) wait there between two blocks of the depth.
constexpr std::size_t block_rows = 256;

/// Part of the sum over the depth, of one tile.
struct TileArguments {
  const float* const* rows;  ///< [taps][rows_stride]
  std::size_t rows_stride, taps, length;
  const float* panel;
  const float* prefetch;  ///< one cache line for each step of the depth
  float* sums;            ///< [tile rows][panel_width]
  bool add;               ///< to the sums of the blocks before
};

template <int Rows>
void multiply_tile(const TileArguments& t) {
  Vector sums[Rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) sums[r][0] = sums[r][1] = broadcast(0);
  const float* panel = t.panel;
  const float* prefetch = t.prefetch;
  for (std::size_t tap = 0; tap < t.taps; ++tap) {
    const float* rows[Rows];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) rows[r] = t.rows[tap * t.rows_stride + std::size_t(r)];
#pragma GCC unroll 4
    for (std::size_t k = 0; k < t.length; ++k) {
      const Vector left = load(panel), right = load(panel + lanes);
      _mm_prefetch(reinterpret_cast<const char*>(prefetch), _MM_HINT_T1);
      panel += panel_width;
      prefetch += panel_width;
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const Vector x = broadcast(rows[r][k]);
        sums[r][0] = multiply_add(x, left, sums[r][0]);
        sums[r][1] = multiply_add(x, right, sums[r][1]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    float* out = t.sums + std::size_t(r) * panel_width;
    if (t.add) {
      sums[r][0] = sums[r][0] + load(out);
      sums[r][1] = sums[r][1] + load(out + lanes);
    }
    store(out, sums[r][0]);
    store(out + lanes, sums[r][1]);
  }
}

using TileFunction = void(const TileArguments&);

/// multiply_tile for 1 … MaxRows rows.
template <int MaxRows>
struct TileTable {
  TileFunction* of[MaxRows + 1] = {};
  constexpr TileTable() { fill<MaxRows>(); }
  template <int Rows>
  constexpr void fill() {
    of[Rows] = multiply_tile<Rows>;
    if constexpr (Rows > 1) fill<Rows - 1>();
  }
};

/// Bias, residual and activation of one tile, whose rows start at `row`.
template <Vector (*Activation)(Vector)>
void finish_tile(const GemmArguments& g, const float* sums, std::size_t row, std::size_t rows, std::size_t panel) {
  for (std::size_t end = row + rows; row < end; ++row, sums += panel_width) {
    for (std::size_t half = 0; half < 2; ++half) {
      const std::size_t column = panel * panel_width + half * lanes;
      if (column >= g.columns) break;
      const std::size_t count = g.columns - column;
      Vector x = load(sums + half * lanes);
      if (g.bias != nullptr) x = x + load(g.bias + column);
      if (g.residual != nullptr) x = x + load_first(g.residual + row * g.residual_stride + column, count);
      store_first(g.out + row * g.out_stride + column, Activation(x), count);
    }
  }
}

inline Vector identity(Vector x) {
  return x;
}
inline Vector relu(Vector x) {
  return maximum(x, broadcast(0));
}

inline void finish(const GemmArguments& g, const float* sums, std::size_t row, std::size_t rows, std::size_t panel) {
  switch (g.epilogue) {
    case Epilogue::none:
      return finish_tile<identity>(g, sums, row, rows, panel);
    case Epilogue::relu:
      return finish_tile<relu>(g, sums, row, rows, panel);
    case Epilogue::gelu:
      return finish_tile<gelu>(g, sums, row, rows, panel);
    case Epilogue::gelu_tanh:
      return finish_tile<gelu_tanh>(g, sums, row, rows, panel);
    case Epilogue::quick_gelu:
      return finish_tile<quick_gelu>(g, sums, row, rows, panel);
  }
}

/// Rows [first, first + count) of one panel.
template <int MaxRows>
void multiply_panel(const GemmArguments& g, std::size_t first, std::size_t count, std::size_t panel) {
  static constexpr TileTable<MaxRows> tile_functions;
  alignas(64) float sums[block_rows * panel_width];
  const std::size_t tiles = (count + MaxRows - 1) / MaxRows;
  const std::size_t tap_length = g.depth / g.taps;
  const bool gathered = g.left_rows != nullptr;
  // A block is a part of the depth of a plain operand, or some taps of a gathered one.
  const std::size_t units = gathered ? g.taps : g.depth, unit_depth = gathered ? tap_length : 1;
  const std::size_t most_units = unit_depth < block_depth ? block_depth / unit_depth : 1;
  const std::size_t blocks = (units + most_units - 1) / most_units;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t unit = units * block / blocks, block_units = units * (block + 1) / blocks - unit;
    TileArguments t;
    t.taps = gathered ? block_units : 1;
    t.length = gathered ? tap_length : block_units;
    t.panel = g.panels + (panel * g.depth + unit * unit_depth) * panel_width;
    t.add = block > 0;
    const float* following = t.panel + block_units * unit_depth * panel_width;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const std::size_t offset = count * tile / tiles, rows = count * (tile + 1) / tiles - offset;
      const float* plain_rows[MaxRows];
      if (gathered) {
        t.rows = g.left_rows + unit * g.rows + first + offset;
        t.rows_stride = g.rows;
      } else {
        for (std::size_t r = 0; r < rows; ++r) plain_rows[r] = g.left + (first + offset + r) * g.left_stride + unit;
        t.rows = plain_rows;
        t.rows_stride = 0;
      }
      // The first two tiles fetch the panel that comes next, a line of each step's pair each.
      t.prefetch = tile < 2 ? following + tile * lanes : t.panel;
      t.sums = sums + offset * panel_width;
      tile_functions.of[rows](t);
      if (block + 1 == blocks) finish(g, t.sums, first + offset, rows, panel);
    }
  }
}

template <int MaxRows>
void multiply(const GemmArguments& g) {
  const std::size_t blocks = (g.rows + block_rows - 1) / block_rows;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t first = g.rows * block / blocks, count = g.rows * (block + 1) / blocks - first;
    for (std::size_t panel = g.first_panel; panel < g.last_panel; ++panel)
      multiply_panel<MaxRows>(g, first, count, panel);
  }
}

}  // namespace
}  // namespace gondola
