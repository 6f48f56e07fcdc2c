#pragma once

// Elementary functions on vectors. The polynomials are minimax fits (Lawson's iteration on Chebyshev nodes,
// coefficients rounded to fp32).
#include "kernels/simd.h"

namespace gondola {
namespace {

/// e^x within 2 units in the last place; x is clamped to [−87, 88].
inline Vector exponential(Vector x) {
  x = minimum(broadcast(88.0f), maximum(broadcast(-87.0f), x));  // x second: a NaN stays one
  const Vector n = nearest_integer(x * broadcast(1.44269504f));
  // ln 2 in two parts, the first short enough that n times it is exact (Cody and Waite 1980).
  const Vector r = multiply_add(n, broadcast(2.12194440e-4f), multiply_add(n, broadcast(-0.693359375f), x));
  // e^r = 1 + r + r²·p(r) for |r| ≤ ½ ln 2, relative error 3e-9 before rounding.
  Vector p = broadcast(0.00138146f);
  p = multiply_add(p, r, broadcast(0.008368716f));
  p = multiply_add(p, r, broadcast(0.04166839f));
  p = multiply_add(p, r, broadcast(0.16666521f));
  p = multiply_add(p, r, broadcast(0.49999994f));
  const Vector tail = multiply_add(p, r * r, r);
  return scale_by_power(broadcast(1) + tail, n);
}

/// x·Φ(x) = max(x, 0) − |x|·Φ(−|x|), which keeps its relative accuracy on both sides. With t = 1/(1 + ¼|x|),
/// Φ(−|x|) = exp(−½x²)·q(t), relative error 5e-8 before rounding for |x| ≤ 5 (compare Abramowitz and Stegun 7.1.26).
inline Vector gelu(Vector x) {
  const Vector magnitude = absolute(x);
  const Vector t = broadcast(1) / multiply_add(magnitude, broadcast(0.25f), broadcast(1));
  Vector q = broadcast(-0.09969322f);
  q = multiply_add(q, t, broadcast(0.38019946f));
  q = multiply_add(q, t, broadcast(-0.3439045f));
  q = multiply_add(q, t, broadcast(0.36388895f));
  q = multiply_add(q, t, broadcast(-0.026806071f));
  q = multiply_add(q, t, broadcast(0.1307622f));
  q = multiply_add(q, t, broadcast(0.09528013f));
  q = multiply_add(q, t, broadcast(0.0002729694f));
  const Vector tail = exponential(broadcast(-0.5f) * x * x) * q;
  return maximum(broadcast(0), x) - magnitude * tail;
}

/// x·σ(z)
inline Vector gated(Vector x, Vector z) {
  return x / (broadcast(1) + exponential(broadcast(0) - z));
}

inline Vector quick_gelu(Vector x) {
  return gated(x, broadcast(1.702f) * x);
}

/// ½(1 + tanh u) = σ(2u), with u = √(2/π)·(x + 0.044715x³).
inline Vector gelu_tanh(Vector x) {
  const Vector cubic = multiply_add(x * x * broadcast(0.044715f), x, x);
  return gated(x, broadcast(1.595769122f) * cubic);
}

// Faster versions for results that are rounded to bf16 or int8: a fifth of the work, with a relative error of 1e-3
// (AVX2) or 2e-4 (AVX-512) plus an absolute one of 3e-5.

/// 2^y, relative error 8e-5.
inline Vector fast_power_of_two(Vector y) {
  y = bounded_exponent(y);
  const Vector f = fraction_of(y);
  Vector power = broadcast(0.078024492f);
  power = multiply_add(power, f, broadcast(0.22606757f));
  power = multiply_add(power, f, broadcast(0.69583321f));
  power = multiply_add(power, f, broadcast(0.99992526f));
  return scale_by_floor(power, y);
}

inline Vector fast_exponential(Vector x) {
  return fast_power_of_two(x * broadcast(1.44269504f));
}

/// x·σ(z), from y = −z·log₂e.
inline Vector fast_gated(Vector x, Vector y) {
  return x * approximate_reciprocal(broadcast(1) + fast_power_of_two(y));
}

/// Φ(x) = σ(x·p(x²)), with p fitted to the error of x·Φ(x).
inline Vector fast_gelu(Vector x) {
  const Vector square = minimum(x * x, broadcast(25.0f));
  Vector p = broadcast(0.001014281f);
  p = multiply_add(p, square, broadcast(-0.1067758f));
  p = multiply_add(p, square, broadcast(-2.301121f));
  return fast_gated(x, x * p);
}

inline Vector fast_quick_gelu(Vector x) {
  return fast_gated(x, x * broadcast(-2.4554669f));
}

inline Vector fast_gelu_tanh(Vector x) {
  const Vector cubic = multiply_add(x * x * broadcast(0.044715f), x, x);
  return fast_gated(x, cubic * broadcast(-2.302208198f));
}

}  // namespace
}  // namespace gondola
