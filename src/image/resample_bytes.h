#pragma once

#include "image/resample_coefficients.h"
#include "image/resample_kernels.h"

namespace gondola {

/// The range of source pixels that all taps together reach.
struct SourceRange {
  int begin = 0, count = 0;
};
SourceRange source_range(const Coefficients& coefficients);

/// Resamples the columns, then the rows of an image of bytes to columns.taps.size() × rows.taps.size() pixels: Pillow's
/// 8-bit path, with fixed-point weights and the result of the first pass rounded to bytes.
void resample_bytes(const Image& image, const Coefficients& columns, const Coefficients& rows,
                    const ResampleKernels& kernels, Image& result);

}  // namespace gondola
