#pragma once

#include <vector>

#include "image/resample.h"

namespace gondola {

/// One axis of a resize.
struct Axis {
  int in_size = 0, out_size = 0;

  /// Whether the resize leaves the pixels as they are.
  bool identity() const { return out_size == in_size; }
  /// Source pixels per output pixel; Pillow holds the size in single precision.
  double scale() const { return static_cast<double>(static_cast<float>(in_size)) / out_size; }
};

/// The source pixels whose weighted sum is an output pixel: `count` from `first` on, weights from weights[offset] on.
struct Taps {
  int first = 0, count = 0;
  std::size_t offset = 0;
};

struct Coefficients {
  std::vector<Taps> taps;
  std::vector<double> weights;
};

/// Pillow's precompute_coeffs for output pixels [out_begin, out_begin + out_count): filter support scaled by the shrink
/// factor, weights that sum to 1. An axis that changes nothing has one weight of 1 per pixel, so that a pass copies.
/// Throws Error for more than 2^24 weights.
Coefficients filter_coefficients(const Axis& axis, Interpolation interpolation, int out_begin, int out_count);

}  // namespace gondola
