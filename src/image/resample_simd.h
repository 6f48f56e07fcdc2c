#pragma once

// The passes, which each resample_avx*.cpp compiles for its instruction set.
#include <cstring>

#include "image/resample_kernels.h"
#include "image/resample_vectors.h"

namespace gondola {
namespace {

constexpr std::size_t vector_bytes = 4 * lanes;

// A weight has 22 fractional bits, more than a fast multiplication takes. So it is split into digits, each with its own
// sum of products; the sums are shifted into place and added at the end. All of this is exact modulo 2^32.

#if defined(GONDOLA_BYTE_PRODUCTS)

/// Weights as three signed 8-bit digits. Each of the first three words holds one digit of four weights.
struct GroupWeights {
  explicit GroupWeights(const std::int32_t* words)
      : low(broadcast(words[0])), middle(broadcast(words[1])), high(broadcast(words[2])) {}
  Vector low, middle, high;
};

inline void pack_group(std::int32_t* weights) {
  std::int8_t digits[4][4] = {};
  for (std::size_t i = 0; i < 4; ++i) {
    std::int32_t rest = weights[i];
    for (std::size_t k = 0; k < 3; ++k) {
      digits[k][i] = static_cast<std::int8_t>(rest);
      rest = (rest - digits[k][i]) >> 8;
    }
  }
  std::memcpy(weights, digits, sizeof digits);
}

struct Sum {
  void add_group(Vector bytes, const GroupWeights& weights) {
    low = add_products(low, bytes, weights.low);
    middle = add_products(middle, bytes, weights.middle);
    high = add_products(high, bytes, weights.high);
  }
  Vector total() const { return add(low, add(shift_left<8>(middle), shift_left<16>(high))); }

  Vector low = broadcast(weight_rounding), middle = broadcast(0), high = broadcast(0);
};

#else

/// Weights as a signed 16-bit digit and an unsigned 8-bit one. A word holds one digit of two weights: the first and
/// third, or the second and fourth, which is how even_bytes and odd_bytes separate the bytes.
struct GroupWeights {
  explicit GroupWeights(const std::int32_t* words)
      : low_even(broadcast(words[0])),
        low_odd(broadcast(words[1])),
        high_even(broadcast(words[2])),
        high_odd(broadcast(words[3])) {}
  Vector low_even, low_odd, high_even, high_odd;
};

inline std::int32_t pair(std::int32_t first, std::int32_t second) {
  return static_cast<std::int32_t>(static_cast<std::uint16_t>(first) | static_cast<std::uint32_t>(second) << 16);
}

inline void pack_group(std::int32_t* weights) {
  const std::int32_t a = weights[0], b = weights[1], c = weights[2], d = weights[3];
  weights[0] = pair(a & 0xff, c & 0xff);
  weights[1] = pair(b & 0xff, d & 0xff);
  weights[2] = pair(a >> 8, c >> 8);
  weights[3] = pair(b >> 8, d >> 8);
}

struct Sum {
  void add_group(Vector bytes, const GroupWeights& weights) {
    const Vector even = even_bytes(bytes), odd = odd_bytes(bytes);
    low = add(low, add(multiply_pairs(even, weights.low_even), multiply_pairs(odd, weights.low_odd)));
    high = add(high, add(multiply_pairs(even, weights.high_even), multiply_pairs(odd, weights.high_odd)));
  }
  Vector total() const { return add(low, shift_left<8>(high)); }

  Vector low = broadcast(weight_rounding), high = broadcast(0);
};

#endif

inline void pack_weights(std::int32_t* weights, std::size_t groups) {
  for (std::size_t i = 0; i < groups; ++i) pack_group(weights + 4 * i);
}

/// How 16 bytes of interleaved pixels are split into `groups` groups, each the bytes of one channel of four pixels.
template <std::size_t channels>
struct Deinterleaving {
  static constexpr std::size_t bytes = channels == 3 ? 12 : 16, groups = bytes / 4;

  static Vector order() {
    alignas(16) std::uint8_t from[16];
    for (std::size_t i = 0; i < 16; ++i) {
      const std::size_t pixel = i / (4 * channels) * 4 + i % 4, channel = i / 4 % channels;
      from[i] = static_cast<std::uint8_t>(i < bytes ? pixel * channels + channel : 0);
    }
    return broadcast_16(from);
  }
};

/// Transposes a strip of rows into vectors of one group of all rows, the channels of four pixels one after another.
template <std::size_t channels>
void transpose_strip(const std::uint8_t* const* rows, std::size_t row_bytes, std::uint8_t* out) {
  using Step = Deinterleaving<channels>;
  const Vector order = Step::order();
  const auto transpose_four = [&](const std::uint8_t* const* from, std::size_t offset) {
    const auto load = [&](std::size_t row) { return shuffle_bytes(load_rows(from + row, offset), order); };
    const Vector a = load(0), b = load(1), c = load(2), d = load(3);
    const Vector ab = unpack_low_32(a, b), cd = unpack_low_32(c, d);
    store(out, unpack_low_64(ab, cd));
    store(out + vector_bytes, unpack_high_64(ab, cd));
    const Vector ab_high = unpack_high_32(a, b), cd_high = unpack_high_32(c, d);
    store(out + 2 * vector_bytes, unpack_low_64(ab_high, cd_high));
    if constexpr (Step::groups == 4) store(out + 3 * vector_bytes, unpack_high_64(ab_high, cd_high));
    out += Step::groups * vector_bytes;
  };
  // The hardware prefetcher cannot follow as many streams as there are rows, so prefetch explicitly.
  constexpr std::size_t ahead = 256, lines = (lanes * Step::bytes + 63) / 64;
  std::size_t offset = 0, fetched = 0;
  for (; offset + 16 <= row_bytes; offset += Step::bytes) {
    for (std::size_t i = 0; i < lines; ++i) prefetch(rows[fetched++ % lanes] + offset + ahead);
    transpose_four(rows, offset);
  }
  // Copy the rest to where 16 bytes can be read.
  for (; offset < row_bytes; offset += Step::bytes) {
    std::uint8_t ends[lanes][16] = {};
    const std::uint8_t* pointers[lanes];
    for (std::size_t i = 0; i < lanes; ++i) {
      std::memcpy(ends[i], rows[i] + offset, row_bytes - offset);
      pointers[i] = ends[i];
    }
    transpose_four(pointers, 0);
  }
}

template <std::size_t channels>
void resample_strip(const ColumnsArguments& a) {
  transpose_strip<channels>(a.rows, a.row_bytes, a.scratch);
  std::uint8_t* out = a.out;
  for (std::size_t x = 0; x < a.weights.count; ++x) {
    const TapGroups taps = a.weights.taps[x];
    const std::uint8_t* in = a.scratch + (taps.first - a.weights.taps[0].first) * channels * vector_bytes;
    const std::int32_t* words = a.weights.weights + taps.weights;
    Sum sums[channels];
    for (std::size_t i = 0; i < taps.count; ++i, words += 4, in += channels * vector_bytes) {
      const GroupWeights weights(words);
      for (std::size_t c = 0; c < channels; ++c) sums[c].add_group(load(in + c * vector_bytes), weights);
    }
    for (std::size_t c = 0; c < channels; ++c, out += 4) {
      std::uint8_t bytes[lanes];
      store_bytes(bytes, sums[c].total());
      for (std::size_t i = 0; i < lanes / 4; ++i) std::memcpy(out + i * a.out_stride, bytes + 4 * i, 4);
    }
  }
}

inline void resample_columns(const ColumnsArguments& arguments) {
  switch (arguments.channels) {
    case 1:
      return resample_strip<1>(arguments);
    case 2:
      return resample_strip<2>(arguments);
    case 3:
      return resample_strip<3>(arguments);
    default:
      return resample_strip<4>(arguments);
  }
}

inline void resample_rows(const RowsArguments& a) {
  constexpr std::size_t block = 4;  // vectors
  static_assert(interleaved_multiple % (block * vector_bytes) == 0);
  for (std::size_t y = 0; y < a.weights.count; ++y) {
    const TapGroups taps = a.weights.taps[y];
    std::uint8_t* out = a.out + y * a.out_bytes;
    for (std::size_t column = 0; column < a.out_bytes; column += block * lanes) {
      const std::uint8_t* in = a.in + taps.first * a.in_stride + 4 * column;
      const std::int32_t* words = a.weights.weights + taps.weights;
      Sum sums[block];
      for (std::size_t i = 0; i < taps.count; ++i, words += 4, in += a.in_stride) {
        const GroupWeights weights(words);
        for (std::size_t k = 0; k < block; ++k) sums[k].add_group(load(in + k * vector_bytes), weights);
      }
      std::uint8_t bytes[block * lanes];
      for (std::size_t k = 0; k < block; ++k) store_bytes(bytes + k * lanes, sums[k].total());
      const std::size_t left = a.out_bytes - column;
      if (left >= sizeof bytes)
        std::memcpy(out + column, bytes, sizeof bytes);
      else
        std::memcpy(out + column, bytes, left);
    }
  }
}

}  // namespace
}  // namespace gondola
