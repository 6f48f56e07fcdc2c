#pragma once

// Vectors of 16 floats; see simd.h.
#include <immintrin.h>

#include <cstddef>

namespace gondola {
namespace {

using Vector = __m512;
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
/// The first `count` floats; the other lanes are 0.
inline Vector load_first(const float* p, std::size_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), p);
}
inline void store(float* p, Vector x) {
  _mm512_storeu_ps(p, x);
}
inline void store_first(float* p, Vector x, std::size_t count) {
  _mm512_mask_storeu_ps(p, first_lanes(count), x);
}
/// The first `count` lanes of x; `other` in the others.
inline Vector keep_first(Vector x, std::size_t count, Vector other) {
  return _mm512_mask_blend_ps(first_lanes(count), other, x);
}
inline Vector multiply_add(Vector x, Vector y, Vector z) {
  return _mm512_fmadd_ps(x, y, z);
}
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
inline float sum_of(Vector x) {
  return _mm512_reduce_add_ps(x);
}
inline float maximum_of(Vector x) {
  return _mm512_reduce_max_ps(x);
}

}  // namespace
}  // namespace gondola
