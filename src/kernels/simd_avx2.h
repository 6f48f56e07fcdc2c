#pragma once

// Vectors of 8 floats; see simd.h.
#include <immintrin.h>

#include <cstddef>

namespace gondola {
namespace {

using Vector = __m256;
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
/// The first `count` floats; the other lanes are 0.
inline Vector load_first(const float* p, std::size_t count) {
  return _mm256_maskload_ps(p, first_lanes(count));
}
inline void store(float* p, Vector x) {
  _mm256_storeu_ps(p, x);
}
inline void store_first(float* p, Vector x, std::size_t count) {
  _mm256_maskstore_ps(p, first_lanes(count), x);
}
/// The first `count` lanes of x; `other` in the others.
inline Vector keep_first(Vector x, std::size_t count, Vector other) {
  return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(first_lanes(count)));
}
inline Vector multiply_add(Vector x, Vector y, Vector z) {
  return _mm256_fmadd_ps(x, y, z);
}
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

}  // namespace
}  // namespace gondola
