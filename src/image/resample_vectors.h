#pragma once

// Vectors of the instruction set that a translation unit is compiled for; a lane is four bytes or one 32-bit integer.
// Only resample_avx*.cpp may include this. Everything in it is local to the unit: if two units shared an inline
// function, the linker could give the AVX-512 version to code that runs on any processor.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "image/resample_kernels.h"

namespace gondola {
namespace {

inline void prefetch(const std::uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}
inline __m128i load_16(const std::uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

#if defined(__AVX512F__)

using Vector = __m512i;
constexpr std::size_t lanes = 16;

inline Vector load(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}
inline void store(std::uint8_t* p, Vector x) {
  _mm512_storeu_si512(p, x);
}
/// Loads 16 bytes of every fourth row.
inline Vector load_rows(const std::uint8_t* const* rows, std::size_t offset) {
  Vector x = _mm512_broadcast_i32x4(load_16(rows[0] + offset));
  x = _mm512_mask_broadcast_i32x4(x, 0x00f0, load_16(rows[4] + offset));
  x = _mm512_mask_broadcast_i32x4(x, 0x0f00, load_16(rows[8] + offset));
  return _mm512_mask_broadcast_i32x4(x, 0xf000, load_16(rows[12] + offset));
}
inline Vector broadcast(std::int32_t x) {
  return _mm512_set1_epi32(x);
}
inline Vector broadcast_16(const std::uint8_t* p) {
  return _mm512_broadcast_i32x4(load_16(p));
}
inline Vector shuffle_bytes(Vector x, Vector order) {
  return _mm512_shuffle_epi8(x, order);
}
inline Vector unpack_low_32(Vector x, Vector y) {
  return _mm512_unpacklo_epi32(x, y);
}
inline Vector unpack_high_32(Vector x, Vector y) {
  return _mm512_unpackhi_epi32(x, y);
}
inline Vector unpack_low_64(Vector x, Vector y) {
  return _mm512_unpacklo_epi64(x, y);
}
inline Vector unpack_high_64(Vector x, Vector y) {
  return _mm512_unpackhi_epi64(x, y);
}
inline Vector add(Vector x, Vector y) {
  return _mm512_add_epi32(x, y);
}
template <int count>
Vector shift_left(Vector x) {
  return _mm512_slli_epi32(x, count);
}
/// The first and third, or the second and fourth, of every four bytes, as 16-bit integers.
inline Vector even_bytes(Vector x) {
  return _mm512_and_si512(x, _mm512_set1_epi32(0x00ff00ff));
}
inline Vector odd_bytes(Vector x) {
  return _mm512_srli_epi16(x, 8);
}
/// In each lane, the sum of the two products of 16-bit integers.
inline Vector multiply_pairs(Vector x, Vector y) {
  return _mm512_madd_epi16(x, y);
}
#if defined(__AVX512VNNI__)
#define GONDOLA_BYTE_PRODUCTS
/// Adds to each lane its four products of unsigned and signed bytes. Assembly, as GCC 12 copies the intrinsic's sums.
inline Vector add_products(Vector sum, Vector bytes, Vector weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
  return sum;
}
#endif
/// Stores each lane as a byte: rounded down to an integer and clamped to 0 … 255.
inline void store_bytes(std::uint8_t* p, Vector sums) {
  const Vector integers = _mm512_max_epi32(_mm512_srai_epi32(sums, weight_bits), _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(integers));
}

#elif defined(__AVX2__)

using Vector = __m256i;
constexpr std::size_t lanes = 8;

inline Vector load(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline void store(std::uint8_t* p, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
/// Loads 16 bytes of every fourth row.
inline Vector load_rows(const std::uint8_t* const* rows, std::size_t offset) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(rows[0] + offset)), load_16(rows[4] + offset), 1);
}
inline Vector broadcast(std::int32_t x) {
  return _mm256_set1_epi32(x);
}
inline Vector broadcast_16(const std::uint8_t* p) {
  return _mm256_broadcastsi128_si256(load_16(p));
}
inline Vector shuffle_bytes(Vector x, Vector order) {
  return _mm256_shuffle_epi8(x, order);
}
inline Vector unpack_low_32(Vector x, Vector y) {
  return _mm256_unpacklo_epi32(x, y);
}
inline Vector unpack_high_32(Vector x, Vector y) {
  return _mm256_unpackhi_epi32(x, y);
}
inline Vector unpack_low_64(Vector x, Vector y) {
  return _mm256_unpacklo_epi64(x, y);
}
inline Vector unpack_high_64(Vector x, Vector y) {
  return _mm256_unpackhi_epi64(x, y);
}
inline Vector add(Vector x, Vector y) {
  return _mm256_add_epi32(x, y);
}
template <int count>
Vector shift_left(Vector x) {
  return _mm256_slli_epi32(x, count);
}
/// The first and third, or the second and fourth, of every four bytes, as 16-bit integers.
inline Vector even_bytes(Vector x) {
  return _mm256_and_si256(x, _mm256_set1_epi32(0x00ff00ff));
}
inline Vector odd_bytes(Vector x) {
  return _mm256_srli_epi16(x, 8);
}
/// In each lane, the sum of the two products of 16-bit integers.
inline Vector multiply_pairs(Vector x, Vector y) {
  return _mm256_madd_epi16(x, y);
}
#if defined(__AVXVNNI__)
#define GONDOLA_BYTE_PRODUCTS
/// Adds to each lane its four products of unsigned and signed bytes. Assembly, as GCC 12 copies the intrinsic's sums.
inline Vector add_products(Vector sum, Vector bytes, Vector weights) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(bytes), "x"(weights));
  return sum;
}
#endif
/// Stores each lane as a byte: rounded down to an integer and clamped to 0 … 255.
inline void store_bytes(std::uint8_t* p, Vector sums) {
  const Vector integers = _mm256_srai_epi32(sums, weight_bits);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}

#else
#error "compile this unit for AVX2 or AVX-512"
#endif

}  // namespace
}  // namespace gondola
