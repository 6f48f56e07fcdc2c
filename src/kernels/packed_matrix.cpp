#include "kernels/packed_matrix.h"

#include <xmmintrin.h>

#include <algorithm>
#include <cstring>

namespace gondola {
namespace {

/// Transposes four groups of four columns, `stride` bytes apart, into four rows, `step` bytes apart.
void transpose(const std::byte* columns, std::size_t stride, std::byte* rows, std::size_t step) {
  const auto load = [&](std::size_t i) { return _mm_loadu_ps(reinterpret_cast<const float*>(columns + i * stride)); };
  __m128 a = load(0), b = load(1), c = load(2), d = load(3);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  const auto store = [&](std::size_t i, __m128 row) { _mm_storeu_ps(reinterpret_cast<float*>(rows + i * step), row); };
  store(0, a), store(1, b), store(2, c), store(3, d);
}

void copy_groups(const float* groups, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) _mm_storeu_ps(out + i, _mm_loadu_ps(groups + i));
  for (; i < count; ++i) out[i] = groups[i];
}

/// Interleaves rows 2k and 2k + 1: a group holds one value of each.
void interleave(const std::uint16_t* even, const std::uint16_t* odd, std::size_t count, std::uint16_t* out) {
  for (std::size_t i = 0; i < count; ++i) {
    out[2 * i] = even[i];
    out[2 * i + 1] = odd == nullptr ? std::uint16_t{0} : odd[i];
  }
}

}  // namespace

void pack_columns(const std::byte* columns, std::size_t stride, std::size_t groups, std::size_t count,
                  std::size_t panel_width, std::byte* packed) {
  constexpr std::size_t line = 16;  // groups per cache line: each source line is read once
  const std::size_t step = panel_width * group_bytes;
  for (std::size_t first = 0; first < count; first += panel_width, packed += groups * step) {
    const std::size_t used = std::min(panel_width, count - first);
    for (std::size_t k0 = 0; k0 < groups; k0 += line) {
      const std::size_t k1 = std::min(k0 + line, groups);
      const bool whole = k1 - k0 == line;
      for (std::size_t column = 0; column < used;) {
        const std::byte* source = columns + (first + column) * stride;
        std::byte* target = packed + column * group_bytes;
        const bool four = whole && column + 4 <= used;
        if (four)
          for (std::size_t k = k0; k < k1; k += 4) transpose(source + k * group_bytes, stride, target + k * step, step);
        else
          for (std::size_t k = k0; k < k1; ++k) std::memcpy(target + k * step, source + k * group_bytes, group_bytes);
        column += four ? 4 : 1;
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
        copy_groups(static_cast<const float*>(matrix) + k * stride + first, used, reinterpret_cast<float*>(packed));
      } else {
        const auto* even = static_cast<const std::uint16_t*>(matrix) + k * stride + first;
        interleave(even, k + 1 < depth ? even + stride : nullptr, used, reinterpret_cast<std::uint16_t*>(packed));
      }
      if (used < panel_width) std::memset(packed + used * group_bytes, 0, step - used * group_bytes);
    }
  }
}

}  // namespace gondola
