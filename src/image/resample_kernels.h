#pragma once

// The two passes over bytes that resample_bytes.cpp combines, one version per instruction set. Taps come in groups of
// four: a vector lane holds the four bytes of a group, which are multiplied by four weights and summed at once. So the
// columns pass leaves its rows interleaved by four: the bytes of a column in rows 4i … 4i + 3 are adjacent, which is
// what a lane of the rows pass takes. The scalar version defines the result.
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace gondola {

/// Fractional bits of the fixed-point weights: 8 bits are for the result, 2 for negative lobes and overshoot.
inline constexpr int weight_bits = 32 - 8 - 2;
inline constexpr std::int32_t weight_rounding = 1 << (weight_bits - 1);

/// The taps of an output pixel: `count` groups of four source pixels from group `first` on.
struct TapGroups {
  std::size_t first = 0, count = 0;
  std::size_t weights = 0;  ///< index of its first weight
};

/// What a pass sums up: the taps of each of `count` output pixels, with weights as ResampleKernels::pack leaves them.
struct PassWeights {
  const TapGroups* taps = nullptr;
  std::size_t count = 0;
  const std::int32_t* weights = nullptr;  ///< 0 for the pixels that pad a group
};

/// Arguments for resampling a strip of rows to a width of weights.count pixels.
struct ColumnsArguments {
  const std::uint8_t* const* rows = nullptr;  ///< ResampleKernels::strip_rows pointers, from the first tap on
  std::size_t row_bytes = 0;                  ///< of each
  std::size_t channels = 0;                   ///< 1 to 4, interleaved
  PassWeights weights;
  std::uint8_t* scratch = nullptr;  ///< strip_rows · (row_bytes + 16) bytes
  std::uint8_t* out = nullptr;      ///< the strip's rows, interleaved by four
  std::size_t out_stride = 0;       ///< bytes from one group of four rows to the next
};

/// Arguments for resampling rows interleaved by four to weights.count rows that are not interleaved.
struct RowsArguments {
  const std::uint8_t* in = nullptr;
  std::size_t in_stride = 0;  ///< bytes from one group of four rows to the next, a multiple of interleaved_multiple
  PassWeights weights;
  std::uint8_t* out = nullptr;
  std::size_t out_bytes = 0;  ///< of a row
};
inline constexpr std::size_t interleaved_multiple = 256;

/// Rearranges weights into the form that the passes take. They have weight_bits fractional bits and a magnitude of at
/// most 1.9; those of the filters reach 1.125, at an edge.
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

/// The best version for `isa`; the caller makes sure that this machine supports it (base/cpu.h).
const ResampleKernels& resample_kernels_for(Isa isa);

}  // namespace gondola
