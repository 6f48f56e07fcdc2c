#include "kernels/packed_matrix.h"

#include <algorithm>
#include <cstring>

namespace gondola {
namespace {

/// Rows 2k and 2k + 1 side by side: the two values of each group.
void interleave(const std::uint16_t* even, const std::uint16_t* odd, std::size_t count, std::uint16_t* out) {
  for (std::size_t i = 0; i < count; ++i) {
    out[2 * i] = even[i];
    out[2 * i + 1] = odd == nullptr ? std::uint16_t{0} : odd[i];
  }
}

}  // namespace

void pack_columns(const std::byte* columns, std::size_t stride, std::size_t groups, std::size_t count,
                  std::size_t panel_width, std::byte* packed) {
  constexpr std::size_t line = 16;  // groups of a cache line: each source line is read once
  const std::size_t step = panel_width * group_bytes;
  for (std::size_t first = 0; first < count; first += panel_width, packed += groups * step) {
    const std::size_t used = std::min(panel_width, count - first);
    for (std::size_t k0 = 0; k0 < groups; k0 += line) {
      const std::size_t k1 = std::min(k0 + line, groups);
      for (std::size_t column = 0; column < used; ++column) {
        const std::byte* source = columns + (first + column) * stride;
        std::byte* target = packed + column * group_bytes;
        for (std::size_t k = k0; k < k1; ++k) std::memcpy(target + k * step, source + k * group_bytes, group_bytes);
      }
    }
    if (used < panel_width)
      for (std::size_t k = 0; k < groups; ++k)
        std::memset(packed + k * step + used * group_bytes, 0, (panel_width - used) * group_bytes);
  }
}

void pack_rows(Precision precision, const void* matrix, std::size_t stride, std::size_t depth, std::size_t columns,
               std::size_t panel_width, std::byte* packed) {
  const std::size_t step = panel_width * group_bytes, size = group_size(precision);
  for (std::size_t first = 0; first < columns; first += panel_width) {
    const std::size_t used = std::min(panel_width, columns - first);
    for (std::size_t k = 0; k < depth; k += size, packed += step) {
      if (precision == Precision::fp32) {
        std::memcpy(packed, static_cast<const float*>(matrix) + k * stride + first, used * group_bytes);
      } else {
        const auto* even = static_cast<const std::uint16_t*>(matrix) + k * stride + first;
        interleave(even, k + 1 < depth ? even + stride : nullptr, used, reinterpret_cast<std::uint16_t*>(packed));
      }
      std::memset(packed + used * group_bytes, 0, step - used * group_bytes);
    }
  }
}

}  // namespace gondola
