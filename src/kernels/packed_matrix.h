#pragma once

#include <cstddef>

#include "kernels/aligned.h"

namespace gondola {

/// A matrix of `depth` rows and `columns` columns cut into panels of `panel_width` columns, each stored as
/// [depth][panel_width], the last one padded with zeros: the order in which gemm reads it, without a gap.
inline std::size_t panel_count(std::size_t columns, std::size_t panel_width) {
  return (columns + panel_width - 1) / panel_width;
}
inline std::size_t packed_size(std::size_t depth, std::size_t columns, std::size_t panel_width) {
  return panel_count(columns, panel_width) * depth * panel_width;
}

/// Packs a matrix given by its transpose: columns × depth, a row each `stride` floats. So are the weights of a linear
/// layer stored (out × in), and the keys of attention.
void pack_transposed(const float* matrix, std::size_t stride, std::size_t depth, std::size_t columns,
                     std::size_t panel_width, float* packed);

/// Packs a matrix given as it is: depth × columns, a row each `stride` floats. So are a projection that is applied from
/// the right, and the values of attention.
void pack(const float* matrix, std::size_t stride, std::size_t depth, std::size_t columns, std::size_t panel_width,
          float* packed);

}  // namespace gondola
