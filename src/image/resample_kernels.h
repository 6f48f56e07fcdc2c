#pragma once

// The two passes over bytes that resample_bytes.cpp puts together, one version an instruction set. Taps come in groups
// of four: a lane of a vector holds the four bytes of a group, and is multiplied by four weights and added up at once.
// So the columns pass leaves its rows interleaved by four: the bytes of a column in rows 4i … 4i + 3 stand together,
// which is what a lane of the rows pass takes. The scalar version defines the result.
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace gondola {

/// Fractional bits of the fixed-point weights: 8 bits are the result's, 2 keep room for negative lobes and overshoot.
inline constexpr int weight_bits = 32 - 8 - 2;
inline constexpr std::int32_t weight_rounding = 1 << (weight_bits - 1);

/// The taps of an output pixel: `count` groups of four source pixels from group `first` on.
struct TapGroups {
  std::size_t first = 0, count = 0;
  std::size_t weights = 0;  ///< where its weights begin
};

/// What one pass sums up: the taps of each of `count` output pixels, and weights as ResampleKernels::pack leaves them.
struct PassWeights {
  const TapGroups* taps = nullptr;
  std::size_t count = 0;
  const std::int32_t* weights = nullptr;  ///< 0 for the pixels that fill a group up
};

/// A strip of rows, shortened to weights.count pixels.
struct ColumnsArguments {
  const std::uint8_t* const* rows = nullptr;  ///< ResampleKernels::strip_rows of them, from the first tap on
  std::size_t row_bytes = 0;                  ///< of each
  std::size_t channels = 0;                   ///< 1 to 4, interleaved
  PassWeights weights;
  std::uint8_t* scratch = nullptr;  ///< strip_rows · (row_bytes + 16) bytes
  std::uint8_t* out = nullptr;      ///< the strip's rows, interleaved by four
  std::size_t out_stride = 0;       ///< bytes from four rows to the next four
};

/// Rows interleaved by four, reduced to weights.count rows that are not.
struct RowsArguments {
  const std::uint8_t* in = nullptr;
  std::size_t in_stride = 0;  ///< bytes from four rows to the next four, a multiple of interleaved_multiple
  PassWeights weights;
  std::uint8_t* out = nullptr;
  std::size_t out_bytes = 0;  ///< of a row
};
inline constexpr std::size_t interleaved_multiple = 256;

/// Rearranges weights as the passes take them. They have weight_bits fractional bits and are at most 1.9 in magnitude:
/// those of the filters reach 1.125, at an edge.
using PackWeightsFunction = void(std::int32_t* weights, std::size_t groups);
using ResampleColumnsFunction = void(const ColumnsArguments&);
using ResampleRowsFunction = void(const RowsArguments&);

struct ResampleKernels {
  std::size_t strip_rows;  ///< a multiple of 4
  PackWeightsFunction* pack;
  ResampleColumnsFunction* columns;
  ResampleRowsFunction* rows;
};

extern const ResampleKernels resample_scalar, resample_avx2, resample_avx2vnni, resample_avx512, resample_avx512vnni;

/// The best version that `isa` can run; the caller makes sure that this machine can (base/cpu.h).
const ResampleKernels& resample_kernels_for(Isa isa);

}  // namespace gondola
