#pragma once

#include <cstddef>
#include <cstdint>

#include "base/precision.h"

namespace gondola {

/// Products read their operands in groups of four bytes along the depth: one fp32, two bf16 or four int8 values. One
/// loop thus serves all three precisions.
inline constexpr std::size_t group_bytes = 4;

// Units of every instruction set include this header: always inlined, so that the linker has no copy to choose from.
#define GONDOLA_ALWAYS_INLINE [[gnu::always_inline]] inline constexpr

GONDOLA_ALWAYS_INLINE std::size_t group_size(Precision precision) {
  return group_bytes / size_of(precision);
}

/// The blocks in which the depth is summed: at most 768 values each, whole cache lines except for the last, and as even
/// as that allows. One block of a panel (96 KiB in fp32 with AVX-512) stays in the second-level cache for all row
/// tiles; in int8 each row of the left operand has one scale per block.
class DepthBlocks {
 public:
  GONDOLA_ALWAYS_INLINE explicit DepthBlocks(std::size_t depth)
      : depth_(depth), count_(depth <= most ? 1 : (depth + most - 1) / most) {}
  GONDOLA_ALWAYS_INLINE std::size_t count() const { return count_; }
  GONDOLA_ALWAYS_INLINE std::size_t first(std::size_t block) const {
    return block == count_ ? depth_ : (depth_ * block / count_ + line - 1) / line * line;
  }
  GONDOLA_ALWAYS_INLINE std::size_t size(std::size_t block) const { return first(block + 1) - first(block); }

 private:
  static constexpr std::size_t most = 768, line = 64;
  std::size_t depth_, count_;
};

/// The right operand of a product, depth × columns, cut into panels of `panel_width` columns. A panel is stored as
/// [group of the depth][panel_width][group_bytes], without gaps and in the order in which gemm reads it; the last one
/// is padded with zeros.
struct PackedMatrix {
  Precision precision = Precision::fp32;
  std::size_t depth = 0, columns = 0;  ///< depth: a multiple of the group size
  const std::byte* panels = nullptr;
  /// int8 only, padded to whole panels: the scale of each column, and the sum of its integers over each block of the
  /// depth, [block][padded columns].
  const float* scales = nullptr;
  const std::int32_t* sums = nullptr;
};

GONDOLA_ALWAYS_INLINE std::size_t panel_count(std::size_t columns, std::size_t panel_width) {
  return (columns + panel_width - 1) / panel_width;
}
/// The columns of whole panels.
GONDOLA_ALWAYS_INLINE std::size_t padded_columns(std::size_t columns, std::size_t panel_width) {
  return panel_count(columns, panel_width) * panel_width;
}
GONDOLA_ALWAYS_INLINE std::size_t packed_bytes(Precision precision, std::size_t depth, std::size_t columns,
                                               std::size_t panel_width) {
  const std::size_t groups = (depth + group_size(precision) - 1) / group_size(precision);
  return padded_columns(columns, panel_width) * groups * group_bytes;
}

/// Packs columns stored one after the other, each `groups` groups long and `stride` bytes from the next: the layout of
/// a linear layer's weights (out × in) and of the keys of attention.
void pack_columns(const std::byte* columns, std::size_t stride, std::size_t groups, std::size_t count,
                  std::size_t panel_width, std::byte* packed);

/// Packs a row-major matrix of fp32 or bf16, depth × columns, with rows `stride` values apart: the layout of the values
/// of attention. In bf16 an odd depth is padded with a row of zeros.
void pack_rows(Precision precision, const void* matrix, std::size_t stride, std::size_t depth, std::size_t columns,
               std::size_t panel_width, std::byte* packed);

}  // namespace gondola
