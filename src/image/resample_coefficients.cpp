#include "image/resample_coefficients.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace gondola {
namespace {

double bilinear_filter(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

/// Keys' cubic convolution with a = −0.5.
double bicubic_filter(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

Coefficients identity_coefficients(int begin, int count) {
  Coefficients result;
  for (int i = 0; i < count; ++i) result.taps.push_back({begin + i, 1, static_cast<std::size_t>(i)});
  result.weights.assign(result.taps.size(), 1.0);
  return result;
}

}  // namespace

Coefficients filter_coefficients(const Axis& axis, Interpolation interpolation, int out_begin, int out_count) {
  if (axis.identity()) return identity_coefficients(out_begin, out_count);
  const bool bicubic = interpolation == Interpolation::bicubic;
  const double scale = axis.scale();
  const double filter_scale = std::max(scale, 1.0);
  const double support = (bicubic ? 2.0 : 1.0) * filter_scale;
  const double inverse_filter_scale = 1.0 / filter_scale;

  // Bicubic reduction takes about four weights per source pixel: only images with a side of more than four million
  // pixels exceed this. Pillow has no such limit.
  constexpr double most_weights = 1 << 24;
  const double taps_per_pixel = std::ceil(support) * 2 + 1;
  if (taps_per_pixel * out_count > most_weights)
    fail("cannot scale {} pixels to {}: the filter is too large", axis.in_size, axis.out_size);

  Coefficients result;
  result.taps.reserve(static_cast<std::size_t>(out_count));
  result.weights.reserve(static_cast<std::size_t>(std::min<double>(taps_per_pixel, axis.in_size) * out_count));
  for (int i = out_begin; i < out_begin + out_count; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), axis.in_size);
    const std::size_t offset = result.weights.size();
    double sum = 0.0;
    for (int x = 0; x < last - first; ++x) {
      const double distance = (x + first - center + 0.5) * inverse_filter_scale;
      const double weight = bicubic ? bicubic_filter(distance) : bilinear_filter(distance);
      result.weights.push_back(weight);
      sum += weight;
    }
    if (sum != 0.0)
      for (std::size_t k = offset; k < result.weights.size(); ++k) result.weights[k] /= sum;
    result.taps.push_back({first, last - first, offset});
  }
  return result;
}

}  // namespace gondola
