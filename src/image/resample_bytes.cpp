#include "image/resample_bytes.h"

#include <algorithm>

namespace gondola {
namespace {

std::int32_t to_fixed_point(double weight) {
  return static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << weight_bits));
}

/// The weights of one pass as its kernel takes them.
struct PackedWeights {
  /// Groups are counted from pixel `begin` on.
  PackedWeights(const Coefficients& coefficients, int begin, const ResampleKernels& kernels) {
    taps.reserve(coefficients.taps.size());
    weights.reserve(coefficients.weights.size() + 6 * coefficients.taps.size());
    for (const Taps& of_pixel : coefficients.taps) {
      const auto first = static_cast<std::size_t>(of_pixel.first - begin),
                 count = static_cast<std::size_t>(of_pixel.count);
      const std::size_t group = first / 4, groups = (first + count + 3) / 4 - group, offset = weights.size();
      taps.push_back({group, groups, offset});
      weights.resize(offset + 4 * groups);
      for (std::size_t i = 0; i < count; ++i)
        weights[offset + first % 4 + i] = to_fixed_point(coefficients.weights[of_pixel.offset + i]);
    }
    kernels.pack(weights.data(), weights.size() / 4);
  }
  /// The weights of up to `count` output pixels from `first` on.
  PassWeights view(std::size_t first, std::size_t count) const {
    return {taps.data() + first, std::min(count, taps.size() - first), weights.data()};
  }

  std::vector<TapGroups> taps;
  std::vector<std::int32_t> weights;
};

/// Output pixels of a row computed at once: few enough for their source to stay in the cache and scratch to be small.
constexpr std::size_t columns_at_once = 64;

}  // namespace

SourceRange source_range(const Coefficients& coefficients) {
  const int begin = coefficients.taps.front().first;
  return {begin, coefficients.taps.back().first + coefficients.taps.back().count - begin};
}

void resample_bytes(const Image& image, const Coefficients& columns, const Coefficients& rows,
                    const ResampleKernels& kernels, Image& result) {
  const SourceRange across = source_range(columns), down = source_range(rows);
  const PackedWeights column_weights(columns, across.begin, kernels), row_weights(rows, down.begin, kernels);
  const auto channels = static_cast<std::size_t>(image.bytes_per_pixel());
  const std::size_t group_bytes = 4 * channels, row_bytes = channels * static_cast<std::size_t>(across.count);
  const int strip = static_cast<int>(kernels.strip_rows), strips = (down.count + strip - 1) / strip;
  const std::size_t stride =
      (4 * result.row_bytes() + interleaved_multiple - 1) / interleaved_multiple * interleaved_multiple;

  Pixels narrowed(static_cast<std::size_t>(strips) * kernels.strip_rows / 4 * stride), scratch;
  std::vector<const std::uint8_t*> pointers(kernels.strip_rows);
  for (int i = 0; i < strips; ++i) {
    std::uint8_t* const out = narrowed.data() + static_cast<std::size_t>(i * strip / 4) * stride;
    for (std::size_t x = 0; x < columns.taps.size(); x += columns_at_once) {
      const PassWeights weights = column_weights.view(x, columns_at_once);
      const TapGroups &first = weights.taps[0], &last = weights.taps[weights.count - 1];
      const std::size_t begin = first.first * group_bytes;
      const std::size_t end = std::min((last.first + last.count) * group_bytes, row_bytes);
      scratch.resize(std::max(scratch.size(), kernels.strip_rows * (end - begin + 16)));
      // The last strip repeats the last row; the results have a weight of zero.
      for (int k = 0; k < strip; ++k)
        pointers[static_cast<std::size_t>(k)] = image.row(down.begin + std::min(i * strip + k, down.count - 1)) +
                                                channels * static_cast<std::size_t>(across.begin) + begin;
      kernels.columns({pointers.data(), end - begin, channels, weights, scratch.data(), out + x * group_bytes, stride});
    }
  }
  kernels.rows(
      {narrowed.data(), stride, row_weights.view(0, rows.taps.size()), result.pixels.data(), result.row_bytes()});
}

const ResampleKernels& resample_kernels_for(Isa isa) {
  if (isa >= Isa::avx512vnni) return resample_avx512vnni;
  switch (isa) {
    case Isa::avx512:
      return resample_avx512;
    case Isa::avx2vnni:
      return resample_avx2vnni;
    case Isa::avx2:
      return resample_avx2;
    default:
      return resample_scalar;
  }
}

}  // namespace gondola
