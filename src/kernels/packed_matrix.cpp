#include "kernels/packed_matrix.h"

#include <algorithm>

namespace gondola {

void pack_transposed(const float* matrix, std::size_t stride, std::size_t depth, std::size_t columns,
                     std::size_t panel_width, float* packed) {
  constexpr std::size_t line = 16;  // floats of a cache line: each source line is read once
  for (std::size_t first = 0; first < columns; first += panel_width, packed += depth * panel_width) {
    const std::size_t count = std::min(panel_width, columns - first);
    for (std::size_t k0 = 0; k0 < depth; k0 += line) {
      const std::size_t k1 = std::min(k0 + line, depth);
      for (std::size_t column = 0; column < count; ++column) {
        const float* source = matrix + (first + column) * stride;
        for (std::size_t k = k0; k < k1; ++k) packed[k * panel_width + column] = source[k];
      }
      for (std::size_t column = count; column < panel_width; ++column)
        for (std::size_t k = k0; k < k1; ++k) packed[k * panel_width + column] = 0;
    }
  }
}

void pack(const float* matrix, std::size_t stride, std::size_t depth, std::size_t columns, std::size_t panel_width,
          float* packed) {
  for (std::size_t first = 0; first < columns; first += panel_width) {
    const std::size_t count = std::min(panel_width, columns - first);
    for (std::size_t k = 0; k < depth; ++k, packed += panel_width) {
      std::copy_n(matrix + k * stride + first, count, packed);
      std::fill(packed + count, packed + panel_width, 0.0f);
    }
  }
}

}  // namespace gondola
