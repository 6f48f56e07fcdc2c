#include <cassert>

#include "kernels/gemm_simd.h"

// The matrix product on AMX, whose registers are tiles of up to 16 rows of 64 bytes. One tile holds 16 rows of the left
// operand as they are in memory, another 16 groups of the depth of 16 columns, as a panel stores them; one instruction
// adds their product, 16 × 16 sums, to a third.
namespace gondola {
namespace {

constexpr std::size_t tile_rows = 16, tile_groups = 16, tile_bytes = tile_groups * group_bytes;

/// The configuration of palette 1, as ldtilecfg reads it (Intel SDM, volume 1, 18.2).
struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

/// Keeps the compiler from moving stores past it: GCC 12's intrinsics do not declare that they read memory.
[[gnu::always_inline]] inline void order_stores() {
  asm volatile("" ::: "memory");
}

/// Tiles 0 and 1 hold the sums of `left_rows` rows with the two halves of a panel, 2 and 3 those of the next
/// `left_rows` rows. Tiles 4 and 5 hold the left operand, 6 and 7 the panel.
void configure_tiles(std::size_t left_rows) {
  TileConfiguration configuration;
  for (int tile = 0; tile < 8; ++tile) {
    configuration.row_bytes[tile] = tile_bytes;
    configuration.rows[tile] = static_cast<std::uint8_t>(tile < 6 ? left_rows : tile_groups);
  }
  order_stores();
  _tile_loadconfig(&configuration);
  order_stores();
}

template <class Dot>
[[gnu::always_inline]] inline void multiply_first_rows() {
  if constexpr (Dot::precision == Precision::int8) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
  } else {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
}
template <class Dot>
[[gnu::always_inline]] inline void multiply_second_rows() {
  if constexpr (Dot::precision == Precision::int8) {
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  } else {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

/// Multiplies sixteen groups of the depth; the second tile of rows only if `Two`.
template <class Dot, bool Two>
[[gnu::always_inline]] inline void multiply_groups(const std::byte* const (&left)[2], std::size_t left_stride,
                                                   const std::byte* panel) {
  _tile_loadd(6, panel, step_bytes);
  _tile_loadd(7, panel + vector_bytes, step_bytes);
  _tile_loadd(4, left[0], left_stride);
  multiply_first_rows<Dot>();
  if constexpr (Two) {
    _tile_loadd(5, left[1], left_stride);
    multiply_second_rows<Dot>();
  }
}

/// Multiplies the last groups of the depth, fewer than a tile holds, from copies padded with zeros.
template <class Dot, bool Two>
void multiply_last_groups(const std::byte* const (&left)[2], std::size_t left_stride, std::size_t left_rows,
                          const std::byte* panel, std::size_t groups) {
  alignas(64) float left_copy[2][tile_rows * lanes], panel_copy[tile_groups * panel_width];
  for (std::size_t half = 0; half < (Two ? 2 : 1); ++half)
    for (std::size_t r = 0; r < left_rows; ++r)
      store(left_copy[half] + r * lanes,
            load_first(reinterpret_cast<const float*>(left[half] + r * left_stride), groups));
  for (std::size_t at = 0; at < tile_groups * panel_width; at += lanes)
    store(panel_copy + at, at < groups * panel_width ? load(reinterpret_cast<const float*>(panel) + at) : broadcast(0));
  order_stores();
  multiply_groups<Dot, Two>(
      {reinterpret_cast<const std::byte*>(left_copy[0]), reinterpret_cast<const std::byte*>(left_copy[1])}, tile_bytes,
      reinterpret_cast<const std::byte*>(panel_copy));
}

/// Computes one tile of gemm_simd.h, of up to 2 × 16 rows.
template <class Dot, bool Two>
void multiply_amx_tile(const GemmArguments& g, const TileArguments& t, std::size_t row, std::size_t rows) {
  const std::size_t left_rows = g.rows < tile_rows ? g.rows : tile_rows, last_start = g.rows - left_rows;
  const std::size_t stride = g.left_stride * size_of(Dot::precision);
  // If fewer than 16 rows remain, some rows before them are multiplied again, and these results are not used.
  std::size_t starts[2];
  const std::byte* left[2];
  for (std::size_t half = 0; half < 2; ++half) {
    const std::size_t start = row + half * tile_rows;
    starts[half] = start < last_start ? start : last_start;
    left[half] = t.rows[0] + (static_cast<std::ptrdiff_t>(starts[half]) - static_cast<std::ptrdiff_t>(row)) *
                                 static_cast<std::ptrdiff_t>(stride);
  }
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const std::byte* panel = t.panel;
  for (std::size_t k = 0; k + tile_groups <= t.groups; k += tile_groups) {
    multiply_groups<Dot, Two>(left, stride, panel);
    for (std::size_t i = k; t.prefetch != nullptr && i < k + tile_groups; ++i)
      _mm_prefetch(reinterpret_cast<const char*>(t.prefetch + i * step_bytes), _MM_HINT_T1);
    panel += tile_groups * step_bytes;
    left[0] += tile_bytes;
    left[1] += tile_bytes;
  }
  if (t.groups % tile_groups != 0)
    multiply_last_groups<Dot, Two>(left, stride, left_rows, panel, t.groups % tile_groups);

  alignas(64) std::byte sums[2 * tile_rows][step_bytes];
  _tile_stored(0, sums[0], step_bytes);
  _tile_stored(1, sums[0] + vector_bytes, step_bytes);
  if constexpr (Two) {
    _tile_stored(2, sums[tile_rows], step_bytes);
    _tile_stored(3, sums[tile_rows] + vector_bytes, step_bytes);
  }
  TileArguments one = t;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t half = r / tile_rows;
    const std::byte* sum = sums[half * tile_rows + row + r - starts[half]];
    if constexpr (Dot::precision == Precision::int8) {
      conclude_tile<Dot, 1>(one, {{load_groups(sum), load_groups(sum + vector_bytes)}});
      one.scales += t.scales_stride;
    } else {
      conclude_tile<Dot, 1>(one, {{as_floats(load_groups(sum)), as_floats(load_groups(sum + vector_bytes))}});
    }
    one.sums += panel_width;
    one.out = static_cast<std::byte*>(one.out) + t.out_stride * size_of(t.out_precision);
    if (t.residual != nullptr) one.residual += t.residual_stride;
  }
}

template <class Dot>
struct AmxTiles {
  static constexpr std::size_t row_step = tile_rows;
  void operator()(const GemmArguments& g, const TileArguments& t, std::size_t row, std::size_t rows) const {
    if (rows > tile_rows) return multiply_amx_tile<Dot, true>(g, t, row, rows);
    multiply_amx_tile<Dot, false>(g, t, row, rows);
  }
};

/// Configures the tiles for one product only: other users of AMX on the same thread configure them differently, and the
/// operating system saves their contents for as long as they are in use.
template <class Dot>
void multiply_in_tiles(const GemmArguments& g) {
  if (g.rows == 0) return;  // a tile cannot have zero rows
  configure_tiles(g.rows < tile_rows ? g.rows : tile_rows);
  multiply<Dot, 2 * tile_rows, AmxTiles<Dot>>(g);
  _tile_release();
}

template <class Dot>
std::size_t run_tile_peak_loop(std::size_t steps) {
  configure_tiles(tile_rows);  // which also zeroes them
  for (std::size_t step = 0; step < steps; ++step) {
    multiply_first_rows<Dot>();
    multiply_second_rows<Dot>();
  }
  _tile_release();
  return steps * 4 * tile_rows * lanes * tile_groups * 2 * group_size(Dot::precision);
}

}  // namespace

void gemm_bf16_amx(const GemmArguments& arguments) {
  assert(arguments.left_rows == nullptr);
  multiply_in_tiles<Bf16Dot>(arguments);
}
std::size_t peak_bf16_amx(std::size_t steps) {
  return run_tile_peak_loop<Bf16Dot>(steps);
}
void gemm_int8_amx(const GemmArguments& arguments) {
  multiply_in_tiles<Int8Dot>(arguments);
}
std::size_t peak_int8_amx(std::size_t steps) {
  return run_tile_peak_loop<Int8Dot>(steps);
}

}  // namespace gondola
