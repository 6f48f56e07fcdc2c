#pragma once

#include <cstddef>
#include <cstdint>

#include "base/precision.h"

namespace gondola {

/// Every operand of a product is read in groups of four bytes along its depth: one fp32 value, two of bf16 or four of
/// int8. So one loop serves the three precisions.
inline constexpr std::size_t group_bytes = 4;

// Units of every instruction set include this header: always inlined, so that the linker has no copy to choose from.
#define GONDOLA_EVERYWHERE [[gnu::always_inline]] inline constexpr

GONDOLA_EVERYWHERE std::size_t group_size(Precision precision) {
  return group_bytes / size_of(precision);
}

/// The blocks in which the sum over a depth is made: of 768 values at most, all but the last of whole cache lines, as
/// even as that allows. The part of a panel that belongs to one (96 KiB in fp32 with AVX-512) stays in the second-level
/// cache for all row tiles; in int8 a row of the left operand has a scale for each.
class DepthBlocks {
 public:
  GONDOLA_EVERYWHERE explicit DepthBlocks(std::size_t depth)
      : depth_(depth), count_(depth <= most ? 1 : (depth + most - 1) / most) {}
  GONDOLA_EVERYWHERE std::size_t count() const { return count_; }
  GONDOLA_EVERYWHERE std::size_t first(std::size_t block) const {
    return block == count_ ? depth_ : (depth_ * block / count_ + line - 1) / line * line;
  }
  GONDOLA_EVERYWHERE std::size_t size(std::size_t block) const { return first(block + 1) - first(block); }

 private:
  static constexpr std::size_t most = 768, line = 64;
  std::size_t depth_, count_;
};

/// The right operand of a product, depth × columns, cut into panels of `panel_width` columns. A panel is stored as
/// [group of the depth][panel_width][group_bytes], the last one padded with zeros: the order in which gemm reads it,
/// without a gap.
struct PackedMatrix {
  Precision precision = Precision::fp32;
  std::size_t depth = 0, columns = 0;  ///< depth: whole groups
  const std::byte* panels = nullptr;
  /// int8 only, padded to whole panels: the value of 1 in each column, and the sums of the integers of each column over
  /// each block of the depth, [block][padded columns].
  const float* scales = nullptr;
  const std::int32_t* sums = nullptr;
};

GONDOLA_EVERYWHERE std::size_t panel_count(std::size_t columns, std::size_t panel_width) {
  return (columns + panel_width - 1) / panel_width;
}
GONDOLA_EVERYWHERE std::size_t packed_bytes(Precision precision, std::size_t depth, std::size_t columns,
                                            std::size_t panel_width) {
  const std::size_t groups = (depth + group_size(precision) - 1) / group_size(precision);
  return panel_count(columns, panel_width) * groups * panel_width * group_bytes;
}

/// Packs columns given one after the other, each `groups` groups long and `stride` bytes from the next. So are the
/// weights of a linear layer stored (out × in), and the keys of attention.
void pack_columns(const std::byte* columns, std::size_t stride, std::size_t groups, std::size_t count,
                  std::size_t panel_width, std::byte* packed);

/// Packs a matrix given as it is: depth × columns, a row each `stride` values of fp32 or bf16. So are the values of
/// attention. In bf16 an odd depth is made even by a row of zeros.
void pack_rows(Precision precision, const void* matrix, std::size_t stride, std::size_t depth, std::size_t columns,
               std::size_t panel_width, std::byte* packed);

}  // namespace gondola
