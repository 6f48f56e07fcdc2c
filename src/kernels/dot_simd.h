#pragma once

// The dot products in gemm_simd.h. Each lane of the right operand holds a group of four bytes of one column, and all
// lanes of the left one hold the same group of a row. add() adds the products of the two groups to each lane's sum.
#include "base/precision.h"
#include "kernels/simd.h"

namespace gondola {
namespace {

struct Fp32Dot {
  static constexpr Precision precision = Precision::fp32;
  using Sum = Vector;
  static Sum zero() { return broadcast(0); }
  static Vector right(const std::byte* p) { return as_floats(load_groups(p)); }
  static Vector left(const std::byte* p) { return as_floats(broadcast_group(p)); }
  static void add(Sum& sum, Vector x, Vector y) { sum = multiply_add(x, y, sum); }
};

/// bf16 without a hardware instruction for it: a bf16 is the upper half of an fp32.
struct SplitBf16Dot {
  static constexpr Precision precision = Precision::bf16;
  using Sum = Vector;
  struct Pair {
    Vector even, odd;
  };
  static Sum zero() { return broadcast(0); }
  static Pair split(Integers x) {
    return {as_floats(shift_left_32(x, 16)), as_floats(bits_and(x, broadcast_integer(-0x10000)))};
  }
  static Pair right(const std::byte* p) { return split(load_groups(p)); }
  static Pair left(const std::byte* p) { return split(broadcast_group(p)); }
  static void add(Sum& sum, const Pair& x, const Pair& y) {
    sum = multiply_add(x.even, y.even, sum);
    sum = multiply_add(x.odd, y.odd, sum);
  }
};

#if defined(__AVX512BF16__)
struct Bf16Dot {
  static constexpr Precision precision = Precision::bf16;
  using Sum = Vector;
  static Sum zero() { return broadcast(0); }
  static Integers right(const std::byte* p) { return load_groups(p); }
  static Integers left(const std::byte* p) { return broadcast_group(p); }
  static void add(Sum& sum, Integers x, Integers y) {
    sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(y));
  }
};
#endif

/// Without a VNNI instruction, two products are added in 16 bits, which can hold 2·255·64, so weights are limited to
/// ±64 (Kernels::int8_weight_limit).
struct Int8Dot {
  static constexpr Precision precision = Precision::int8;
  using Sum = Integers;
  static Sum zero() { return broadcast_integer(0); }
  static Integers right(const std::byte* p) { return load_groups(p); }
  static Integers left(const std::byte* p) { return broadcast_group(p); }
  static void add(Sum& sum, Integers x, Integers y) {
#if defined(__AVX512VNNI__)
    sum = _mm512_dpbusd_epi32(sum, x, y);
#elif defined(__AVXVNNI__)
    sum = _mm256_dpbusd_avx_epi32(sum, x, y);
#else
    sum = add_32(sum, add_pairs(multiply_byte_pairs(x, y)));
#endif
  }
};

}  // namespace
}  // namespace gondola
