#pragma once

// Vectors of 8 floats, or of 8 groups of four bytes; see simd.h.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gondola {
namespace {

using Vector = __m256;
using Integers = __m256i;
constexpr std::size_t lanes = 8;

inline __m256i first_lanes(std::size_t count) {
  const int n = count >= lanes ? int(lanes) : int(count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vector broadcast(float x) {
  return _mm256_set1_ps(x);
}
inline Vector load(const float* p) {
  return _mm256_loadu_ps(p);
}
// The loads and stores of the first lanes use no mask for whole vectors, the usual case.

/// The first `count` floats; the other lanes are 0.
inline Vector load_first(const float* p, std::size_t count) {
  if (count >= lanes) return load(p);
  return _mm256_maskload_ps(p, first_lanes(count));
}
inline void store(float* p, Vector x) {
  _mm256_storeu_ps(p, x);
}
inline void store_first(float* p, Vector x, std::size_t count) {
  if (count >= lanes) return store(p, x);
  _mm256_maskstore_ps(p, first_lanes(count), x);
}
/// The first `count` lanes of x; the other lanes are those of `other`.
inline Vector keep_first(Vector x, std::size_t count, Vector other) {
  if (count >= lanes) return x;
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(first_lanes(count)));
}
inline Vector multiply_add(Vector x, Vector y, Vector z) {
  return _mm256_fmadd_ps(x, y, z);
}
/// If x or y is a NaN, the result is y; the same holds for minimum.
inline Vector maximum(Vector x, Vector y) {
  return _mm256_max_ps(x, y);
}
inline Vector minimum(Vector x, Vector y) {
  return _mm256_min_ps(x, y);
}
inline Vector absolute(Vector x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
inline Vector nearest_integer(Vector x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// x·2^n for integers n, where the result is a normal number.
inline Vector scale_by_power(Vector x, Vector n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
}
/// y − ⌊y⌋
inline Vector fraction_of(Vector y) {
  return y - _mm256_floor_ps(y);
}
/// y, clamped to the range that scale_by_floor supports.
inline Vector bounded_exponent(Vector y) {
  return minimum(broadcast(126.0f), maximum(broadcast(-126.0f), y));  // y second: a NaN stays one
}
/// x·2^⌊y⌋
inline Vector scale_by_floor(Vector x, Vector y) {
  return scale_by_power(x, _mm256_floor_ps(y));
}
/// 1/x, relative error 2^-11.
inline Vector approximate_reciprocal(Vector x) {
  return _mm256_rcp_ps(x);
}
inline float sum_of(Vector x) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float maximum_of(Vector x) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

inline Integers load_groups(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline Integers broadcast_group(const std::byte* p) {
  return _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float*>(p)));
}
inline Integers broadcast_integer(std::int32_t x) {
  return _mm256_set1_epi32(x);
}
inline Vector as_floats(Integers x) {
  return _mm256_castsi256_ps(x);
}
inline Vector to_floats(Integers x) {
  return _mm256_cvtepi32_ps(x);
}
inline Integers bits_and(Integers x, Integers y) {
  return _mm256_and_si256(x, y);
}
inline Integers shift_left_32(Integers x, int count) {
  return _mm256_slli_epi32(x, count);
}
inline Integers add_32(Integers x, Integers y) {
  return _mm256_add_epi32(x, y);
}
inline Integers subtract_32(Integers x, Integers y) {
  return _mm256_sub_epi32(x, y);
}
inline Integers multiply_32(Integers x, Integers y) {
  return _mm256_mullo_epi32(x, y);
}
/// Multiplies unsigned bytes of x by signed bytes of y and adds neighbouring pairs of products, in 16 bits.
inline Integers multiply_byte_pairs(Integers x, Integers y) {
  return _mm256_maddubs_epi16(x, y);
}
/// The sum of the two 16-bit integers in each lane.
inline Integers add_pairs(Integers x) {
  return _mm256_madd_epi16(x, _mm256_set1_epi16(1));
}

/// The first `count` floats, rounded to the nearest bf16 (ties to even); a NaN stays one.
inline void store_first_bf16(std::uint16_t* p, Vector x, std::size_t count) {
  const Integers bits = _mm256_castps_si256(x);
  const Integers odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  Integers rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  rounded = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000),
                               _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  rounded = _mm256_srli_epi32(rounded, 16);
  const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  if (count >= lanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
  alignas(16) std::uint16_t values[lanes];
  _mm_store_si128(reinterpret_cast<__m128i*>(values), halves);
  std::memcpy(p, values, count * sizeof(std::uint16_t));
}
/// The first `count` floats, rounded to the nearest integer from 0 to 255, as bytes.
inline void store_first_bytes(std::uint8_t* p, Vector x, std::size_t count) {
  const Integers integers = _mm256_cvtps_epi32(x);
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  const __m128i bytes = _mm_packus_epi16(halves, halves);
  if (count >= lanes) return _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
  alignas(16) std::uint8_t values[2 * lanes];
  _mm_store_si128(reinterpret_cast<__m128i*>(values), bytes);
  std::memcpy(p, values, count);
}

}  // namespace
}  // namespace gondola
