#pragma once

// Vectors of 16 floats, or of 16 groups of four bytes; see simd.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace gondola {
namespace {

using Vector = __m512;
using Integers = __m512i;
constexpr std::size_t lanes = 16;

inline __mmask16 first_lanes(std::size_t count) {
  return count >= lanes ? __mmask16(0xffff) : __mmask16((1u << count) - 1);
}
inline Vector broadcast(float x) {
  return _mm512_set1_ps(x);
}
inline Vector load(const float* p) {
  return _mm512_loadu_ps(p);
}
// The loads and stores of the first lanes use no mask for whole vectors, the usual case.

/// The first `count` floats; the other lanes are 0.
inline Vector load_first(const float* p, std::size_t count) {
  if (count >= lanes) return load(p);
  return _mm512_maskz_loadu_ps(first_lanes(count), p);
}
inline void store(float* p, Vector x) {
  _mm512_storeu_ps(p, x);
}
inline void store_first(float* p, Vector x, std::size_t count) {
  if (count >= lanes) return store(p, x);
  _mm512_mask_storeu_ps(p, first_lanes(count), x);
}
/// The first `count` lanes of x; the other lanes are those of `other`.
inline Vector keep_first(Vector x, std::size_t count, Vector other) {
  if (count >= lanes) return x;
  return _mm512_mask_blend_ps(first_lanes(count), other, x);
}
inline Vector multiply_add(Vector x, Vector y, Vector z) {
  return _mm512_fmadd_ps(x, y, z);
}
/// If x or y is a NaN, the result is y; the same holds for minimum.
inline Vector maximum(Vector x, Vector y) {
  return _mm512_max_ps(x, y);
}
inline Vector minimum(Vector x, Vector y) {
  return _mm512_min_ps(x, y);
}
inline Vector absolute(Vector x) {
  return _mm512_abs_ps(x);
}
inline Vector nearest_integer(Vector x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// x·2^n for integers n, where the result is a normal number.
inline Vector scale_by_power(Vector x, Vector n) {
  return _mm512_scalef_ps(x, n);
}
/// y − ⌊y⌋
inline Vector fraction_of(Vector y) {
  return _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
/// y itself: the instruction behind scale_by_floor supports any exponent.
inline Vector bounded_exponent(Vector y) {
  return y;
}
/// x·2^⌊y⌋
inline Vector scale_by_floor(Vector x, Vector y) {
  return _mm512_scalef_ps(x, y);
}
/// 1/x, relative error 2^-14.
inline Vector approximate_reciprocal(Vector x) {
  return _mm512_rcp14_ps(x);
}
inline float sum_of(Vector x) {
  return _mm512_reduce_add_ps(x);
}
inline float maximum_of(Vector x) {
  return _mm512_reduce_max_ps(x);
}

inline Integers load_groups(const std::byte* p) {
  return _mm512_loadu_si512(p);
}
inline Integers broadcast_group(const std::byte* p) {
  return _mm512_castps_si512(_mm512_set1_ps(*reinterpret_cast<const float*>(p)));
}
inline Integers broadcast_integer(std::int32_t x) {
  return _mm512_set1_epi32(x);
}
inline Vector as_floats(Integers x) {
  return _mm512_castsi512_ps(x);
}
inline Vector to_floats(Integers x) {
  return _mm512_cvtepi32_ps(x);
}
inline Integers bits_and(Integers x, Integers y) {
  return _mm512_and_si512(x, y);
}
inline Integers shift_left_32(Integers x, int count) {
  return _mm512_slli_epi32(x, unsigned(count));
}
inline Integers add_32(Integers x, Integers y) {
  return _mm512_add_epi32(x, y);
}
inline Integers subtract_32(Integers x, Integers y) {
  return _mm512_sub_epi32(x, y);
}
inline Integers multiply_32(Integers x, Integers y) {
  return _mm512_mullo_epi32(x, y);
}
/// Multiplies unsigned bytes of x by signed bytes of y and adds neighbouring pairs of products, in 16 bits.
inline Integers multiply_byte_pairs(Integers x, Integers y) {
  return _mm512_maddubs_epi16(x, y);
}
/// The sum of the two 16-bit integers in each lane.
inline Integers add_pairs(Integers x) {
  return _mm512_madd_epi16(x, _mm512_set1_epi16(1));
}

/// Rounds to the nearest bf16 (ties to even); a NaN stays one. The hardware instruction treats subnormals as 0.
inline __m256i to_bf16(Vector x) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
#else
  const Integers bits = _mm512_castps_si512(x);
  const Integers odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  Integers rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}
/// The first `count` floats as bf16.
inline void store_first_bf16(std::uint16_t* p, Vector x, std::size_t count) {
  const __m256i halves = to_bf16(x);
  if (count >= lanes) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves);
  _mm256_mask_storeu_epi16(p, first_lanes(count), halves);
}
/// The first `count` floats, rounded to the nearest integer from 0 to 255, as bytes.
inline void store_first_bytes(std::uint8_t* p, Vector x, std::size_t count) {
  const Integers integers = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
  const __m128i bytes = _mm512_cvtusepi32_epi8(integers);
  if (count >= lanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  _mm_mask_storeu_epi8(p, first_lanes(count), bytes);
}

}  // namespace
}  // namespace gondola
