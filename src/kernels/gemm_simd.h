#pragma once

// The matrix product of gemm_avx2.cpp, gemm_avx512.cpp and so on.
//
// A tile, up to MaxRows rows by one panel of two vectors, accumulates in registers along the depth: each step loads two
// vectors of the packed panel and broadcasts one group (four bytes) of every row. The left operand is read in place.
// Loops, from the outermost: blocks of rows, panels, blocks of the depth, tiles, depth.
#include "kernels/dot_simd.h"
#include "kernels/gemm.h"
#include "kernels/simd_math.h"

namespace gondola {
namespace {

constexpr std::size_t panel_width = 2 * lanes;
constexpr std::size_t vector_bytes = lanes * group_bytes, step_bytes = 2 * vector_bytes;
/// The most rows of a block, whose sums (32 KiB with AVX-512) stay in the second-level cache between two blocks of the
/// depth, and about the most bytes of its left operand, which should stay there from panel to panel.
constexpr std::size_t block_rows = 256, block_bytes = std::size_t{1} << 20;

/// One tile's part of the sum over the depth.
struct TileArguments {
  const std::byte* const* rows;  ///< [taps][rows_stride]
  std::size_t rows_stride, taps, groups;
  const std::byte* panel;
  const std::byte* prefetch;  ///< one cache line for each step of the depth; null for none
  float* sums;                ///< [tile rows][panel_width]
  bool add;                   ///< to the sums of the previous blocks
  // int8 only
  const RowScale* scales;
  std::size_t scales_stride;
  const std::int32_t* column_sums;
  // Applied after the last block: column scales (int8 only), bias and residual; null if absent.
  bool last;
  const float *column_scales, *bias, *residual;
  std::size_t residual_stride;
  void* out;
  std::size_t out_stride;
  Precision out_precision;
};

/// The fp32 value of `sum`: itself or, in int8, Σ (left − zero)·right, scaled by the row.
template <class Dot>
[[gnu::always_inline]] inline Vector value_of(typename Dot::Sum sum, const TileArguments& t, int r, int half) {
  if constexpr (Dot::precision == Precision::int8) {
    const RowScale& scale = t.scales[std::size_t(r) * t.scales_stride];
    const Integers columns = load_groups(reinterpret_cast<const std::byte*>(t.column_sums + half * int{lanes}));
    return broadcast(scale.scale) * to_floats(subtract_32(sum, multiply_32(columns, broadcast_integer(scale.zero))));
  } else {
    return sum;
  }
}

/// Calls body(row, half) for every vector of a tile, unrolled so that each stays in its register.
template <int Rows, class Body>
[[gnu::always_inline]] inline void for_each_vector(const Body& body) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    body(r, 0);
    body(r, 1);
  }
}

/// Applies column scales, bias and residual, and writes the tile to `out`.
template <class Dot, int Rows>
[[gnu::always_inline]] inline void finish_tile(const TileArguments& t, Vector (&values)[Rows][2]) {
  if constexpr (Dot::precision == Precision::int8) {
    const Vector scales[2] = {load(t.column_scales), load(t.column_scales + lanes)};
    for_each_vector<Rows>([&](int r, int half) { values[r][half] = values[r][half] * scales[half]; });
  }
  if (t.bias != nullptr) {
    const Vector bias[2] = {load(t.bias), load(t.bias + lanes)};
    for_each_vector<Rows>([&](int r, int half) { values[r][half] = values[r][half] + bias[half]; });
  }
  const auto at = [](int r, std::size_t stride, int half) {
    return std::size_t(r) * stride + std::size_t(half) * lanes;
  };
  if (t.residual != nullptr)
    for_each_vector<Rows>([&](int r, int half) {
      values[r][half] = values[r][half] + load(t.residual + at(r, t.residual_stride, half));
    });
  if (t.out_precision == Precision::fp32) {
    auto* out = static_cast<float*>(t.out);
    for_each_vector<Rows>([&](int r, int half) { store(out + at(r, t.out_stride, half), values[r][half]); });
  } else {
    auto* out = static_cast<std::uint16_t*>(t.out);
    for_each_vector<Rows>(
        [&](int r, int half) { store_first_bf16(out + at(r, t.out_stride, half), values[r][half], lanes); });
  }
}

/// Ends one block of the depth: keeps the sums for the next one, or finishes the tile.
template <class Dot, int Rows>
[[gnu::always_inline]] inline void conclude_tile(const TileArguments& t, const typename Dot::Sum (&sums)[Rows][2]) {
  Vector values[Rows][2];
  for_each_vector<Rows>([&](int r, int half) { values[r][half] = value_of<Dot>(sums[r][half], t, r, half); });
  if (t.add)
    for_each_vector<Rows>([&](int r, int half) {
      values[r][half] = values[r][half] + load(t.sums + r * int{panel_width} + half * int{lanes});
    });
  if (!t.last)
    return for_each_vector<Rows>(
        [&](int r, int half) { store(t.sums + r * int{panel_width} + half * int{lanes}, values[r][half]); });
  finish_tile<Dot, Rows>(t, values);
}

template <class Dot, int Rows, bool Prefetches>
void multiply_tile(const TileArguments& t) {
  typename Dot::Sum sums[Rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) sums[r][0] = sums[r][1] = Dot::zero();
  const std::byte* panel = t.panel;
  const std::byte* prefetch = t.prefetch;
  for (std::size_t tap = 0; tap < t.taps; ++tap) {
    const std::byte* rows[Rows];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) rows[r] = t.rows[tap * t.rows_stride + std::size_t(r)];
#pragma GCC unroll 4
    for (std::size_t k = 0; k < t.groups; ++k) {
      const auto first = Dot::right(panel), second = Dot::right(panel + vector_bytes);
      panel += step_bytes;
      if constexpr (Prefetches) {
        _mm_prefetch(reinterpret_cast<const char*>(prefetch), _MM_HINT_T1);
        prefetch += step_bytes;
      }
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const auto x = Dot::left(rows[r] + k * group_bytes);
        Dot::add(sums[r][0], x, first);
        Dot::add(sums[r][1], x, second);
      }
    }
  }
  conclude_tile<Dot, Rows>(t, sums);
}

using TileFunction = void(const TileArguments&);

/// multiply_tile for 1 … MaxRows rows. A replacement (gemm_amx.cpp) is called in the same way, with the product, one of
/// its tiles, and that tile's first row and number of rows, a multiple of row_step but for a block's last tile.
template <class Dot, int MaxRows>
struct TileTable {
  static constexpr std::size_t row_step = 1;
  TileFunction* of[MaxRows + 1][2] = {};  ///< [rows][whether it prefetches]
  constexpr TileTable() { fill<MaxRows>(); }
  template <int Rows>
  constexpr void fill() {
    of[Rows][false] = multiply_tile<Dot, Rows, false>;
    of[Rows][true] = multiply_tile<Dot, Rows, true>;
    if constexpr (Rows > 1) fill<Rows - 1>();
  }
  void operator()(const GemmArguments&, const TileArguments& t, std::size_t, std::size_t rows) const {
    of[rows][t.prefetch != nullptr](t);
  }
};

/// Adds the residual to the sums of one tile, whose rows start at `row`, applies the activation and writes the result.
/// Also handles partial panels.
template <Vector (*Activation)(Vector)>
void activate_tile(const GemmArguments& g, const float* sums, std::size_t row, std::size_t rows, std::size_t panel) {
  for (std::size_t half = 0; half < 2; ++half, sums += lanes) {
    const std::size_t column = panel * panel_width + half * lanes;
    if (column >= g.right.columns) return;
    const std::size_t count = g.right.columns - column;
    for (std::size_t r = 0; r < rows; ++r) {
      Vector x = load(sums + r * panel_width);
      if (g.residual != nullptr) x = x + load_first(g.residual + (row + r) * g.residual_stride + column, count);
      const std::size_t at = (row + r) * g.out_stride + column;
      if (g.out_precision == Precision::fp32) {
        store_first(static_cast<float*>(g.out) + at, Activation(x), count);
      } else {
        store_first_bf16(static_cast<std::uint16_t*>(g.out) + at, Activation(x), count);
      }
    }
  }
}

inline Vector identity(Vector x) {
  return x;
}
inline Vector relu(Vector x) {
  return maximum(broadcast(0), x);
}

template <class Dot>
void activate(const GemmArguments& g, const float* sums, std::size_t row, std::size_t rows, std::size_t panel) {
  constexpr bool exact = Dot::precision == Precision::fp32;
  switch (g.epilogue) {
    case Epilogue::none:
      return activate_tile<identity>(g, sums, row, rows, panel);
    case Epilogue::relu:
      return activate_tile<relu>(g, sums, row, rows, panel);
    case Epilogue::gelu:
      return activate_tile<(exact ? gelu : fast_gelu)>(g, sums, row, rows, panel);
    case Epilogue::gelu_tanh:
      return activate_tile<(exact ? gelu_tanh : fast_gelu_tanh)>(g, sums, row, rows, panel);
    case Epilogue::quick_gelu:
      return activate_tile<(exact ? quick_gelu : fast_quick_gelu)>(g, sums, row, rows, panel);
  }
}

/// A block of the depth: one of DepthBlocks for a plain left operand, some of the taps for a gathered one.
struct DepthPart {
  std::size_t first_tap = 0, taps = 1;    ///< gathered
  std::size_t first = 0, tap_length = 0;  ///< in values
};

inline std::size_t part_count(const GemmArguments& g) {
  const std::size_t blocks = DepthBlocks(g.right.depth).count();
  return g.left_rows != nullptr && g.taps < blocks ? g.taps : blocks;
}

inline DepthPart part_of(const GemmArguments& g, std::size_t part, std::size_t parts) {
  if (g.left_rows == nullptr) {
    const DepthBlocks blocks(g.right.depth);
    return {0, 1, blocks.first(part), blocks.size(part)};
  }
  const std::size_t first = g.taps * part / parts, length = g.right.depth / g.taps;
  return {first, g.taps * (part + 1) / parts - first, first * length, length};
}

/// Computes rows [first, first + count) of one panel.
template <class Dot, int MaxRows, class Tiles>
void multiply_panel(const GemmArguments& g, std::size_t first, std::size_t count, std::size_t panel) {
  static constexpr Tiles multiply_one;
  constexpr std::size_t group = group_size(Dot::precision), value_bytes = size_of(Dot::precision);
  alignas(64) float sums[block_rows * panel_width];
  const std::size_t tiles = (count + MaxRows - 1) / MaxRows, parts = part_count(g);
  const std::size_t row_steps = (count + Tiles::row_step - 1) / Tiles::row_step;
  const auto first_of = [&](std::size_t tile) {
    return tile == tiles ? count : row_steps * tile / tiles * Tiles::row_step;
  };
  const std::byte* panel_start = g.right.panels + panel * (g.right.depth / group) * step_bytes;
  const std::byte* left = static_cast<const std::byte*>(g.left);
  const std::size_t column = panel * panel_width;
  const bool direct = g.epilogue == Epilogue::none && column + panel_width <= g.right.columns;
  for (std::size_t part = 0; part < parts; ++part) {
    const DepthPart depth = part_of(g, part, parts);
    TileArguments t = {};
    t.taps = depth.taps;
    t.groups = depth.tap_length / group;
    t.panel = panel_start + depth.first / group * step_bytes;
    t.add = part > 0;
    t.last = part + 1 == parts;
    if (g.bias != nullptr) t.bias = g.bias + column;
    if (g.right.scales != nullptr) t.column_scales = g.right.scales + column;
    t.residual_stride = g.residual_stride;
    t.out_stride = direct ? g.out_stride : panel_width;
    t.out_precision = direct ? g.out_precision : Precision::fp32;
    t.scales_stride = parts;
    if constexpr (Dot::precision == Precision::int8)
      t.column_sums = g.right.sums + (part * panel_count(g.right.columns, panel_width) + panel) * panel_width;
    const std::byte* following = t.panel + t.taps * t.groups * step_bytes;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const std::size_t offset = first_of(tile), rows = first_of(tile + 1) - offset;
      const std::byte* plain_rows[MaxRows];
      if (g.left_rows != nullptr) {
        t.rows = g.left_rows + depth.first_tap * g.rows + first + offset;
        t.rows_stride = g.rows;
      } else {
        for (std::size_t r = 0; r < rows; ++r)
          plain_rows[r] = left + ((first + offset + r) * g.left_stride + depth.first) * value_bytes;
        t.rows = plain_rows;
      }
      if constexpr (Dot::precision == Precision::int8) t.scales = g.left_scales + (first + offset) * parts + part;
      // The first tiles prefetch the panel data that comes next, each one cache line of every step.
      constexpr std::size_t line = 64;
      t.prefetch = tile < step_bytes / line ? following + tile * line : nullptr;
      t.sums = sums + offset * panel_width;
      if (t.last && direct) {
        const std::size_t row = first + offset;
        if (g.residual != nullptr) t.residual = g.residual + row * g.residual_stride + column;
        t.out = static_cast<std::byte*>(g.out) + (row * g.out_stride + column) * size_of(g.out_precision);
      } else {
        t.out = t.sums;
      }
      multiply_one(g, t, first + offset, rows);
      if (t.last && !direct) activate<Dot>(g, t.sums, first + offset, rows, panel);
    }
  }
}

/// Returns x, but hides from the compiler that it is always the same.
template <class T>
[[gnu::always_inline]] inline T opaque(T x) {
  if constexpr (requires { x.even; }) {
    asm volatile("" : "+v"(x.even), "+v"(x.odd));
  } else {
    asm volatile("" : "+v"(x));
  }
  return x;
}

/// Keeps enough independent sums in registers to hide the latency of a product.
template <class Dot>
std::size_t run_peak_loop(std::size_t steps) {
  constexpr std::size_t count = lanes == 16 ? 20 : 10;
  alignas(64) std::byte zeros[vector_bytes] = {};
  typename Dot::Sum sums[count];
#pragma GCC unroll 20
  for (auto& sum : sums) sum = opaque(Dot::zero());
  const auto x = Dot::left(zeros);
  const auto y = Dot::right(zeros);
  for (std::size_t step = 0; step < steps; ++step) {
    asm volatile("");  // keeps the loop
#pragma GCC unroll 20
    for (auto& sum : sums) Dot::add(sum, opaque(x), y);
  }
#pragma GCC unroll 20
  for (auto& sum : sums) asm volatile("" ::"v"(sum));
  return steps * count * lanes * 2 * group_size(Dot::precision);
}

template <class Dot, int MaxRows, class Tiles = TileTable<Dot, MaxRows>>
void multiply(const GemmArguments& g) {
  const std::size_t fitting = block_bytes / (g.right.depth * size_of(Dot::precision));
  const std::size_t most = fitting < block_rows ? fitting + 1 : block_rows;
  const std::size_t blocks = (g.rows + most - 1) / most;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t first = g.rows * block / blocks, count = g.rows * (block + 1) / blocks - first;
    for (std::size_t panel = g.first_panel; panel < g.last_panel; ++panel)
      multiply_panel<Dot, MaxRows, Tiles>(g, first, count, panel);
  }
}

}  // namespace
}  // namespace gondola
