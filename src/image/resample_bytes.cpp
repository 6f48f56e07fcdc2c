#include "image/resample_bytes.h"

#include <algorithm>
#include <memory>

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
      const auto first = static_cast<std::size_t>(of_pixel.first - begin), count = static_cast<std::size_t>(of_pixel.count);
      const std::size_t group = first / 4, groups = (first + count + 3) / 4 - group, offset = weights.size();
      taps.push_back({group, groups, offset});
      weights.resize(offset + 4 * groups);
      for (std::size_t i = 0; i < count; ++i)
        weights[offset + first % 4 + i] = to_fixed_point(coefficients.weights[of_pixel.offset + i]);
    }
    kernels.pack(weights.data(), weights.size() / 4);
  }
  PassWeights view() const { return {taps.data(), taps.size(), weights.data()}; }

  std::vector<TapGroups> taps;
  std::vector<std::int32_t> weights;
};

/// Uninitialised.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size) : lines_(std::make_unique_for_overwrite<Line[]>(size / sizeof(Line) + 1)) {}
  std::uint8_t* data() const { return lines_[0].bytes; }

 private:
  struct alignas(64) Line {
    std::uint8_t bytes[64];
  };
  std::unique_ptr<Line[]> lines_;
};

}  // namespace

Reach reach(const Coefficients& coefficients) {
  const int begin = coefficients.taps.front().first;
  return {begin, coefficients.taps.back().first + coefficients.taps.back().count - begin};
}

void resample_bytes(const Image& image, const Coefficients& columns, const Coefficients& rows,
                    const ResampleKernels& kernels, Image& result) {
  const Reach across = reach(columns), down = reach(rows);
  const PackedWeights column_weights(columns, across.begin, kernels), row_weights(rows, down.begin, kernels);
  const auto channels = static_cast<std::size_t>(image.bytes_per_pixel());
  const std::size_t row_bytes = channels * static_cast<std::size_t>(across.count);
  const int strip = static_cast<int>(kernels.strip_rows), strips = (down.count + strip - 1) / strip;
  const std::size_t stride = (4 * result.row_bytes() + interleaved_multiple - 1) / interleaved_multiple * interleaved_multiple;

  const AlignedBytes scratch(kernels.strip_rows * (row_bytes + 16));
  const AlignedBytes narrowed(static_cast<std::size_t>(strips) * kernels.strip_rows / 4 * stride);
  std::vector<const std::uint8_t*> pointers(kernels.strip_rows);
  for (int i = 0; i < strips; ++i) {
    // The last strip repeats the last row; what comes of it is weighted by zero.
    for (int k = 0; k < strip; ++k)
      pointers[static_cast<std::size_t>(k)] = image.row(down.begin + std::min(i * strip + k, down.count - 1)) +
                                              channels * static_cast<std::size_t>(across.begin);
    kernels.columns({pointers.data(), row_bytes, channels, column_weights.view(), scratch.data(),
                     narrowed.data() + static_cast<std::size_t>(i * strip / 4) * stride, stride});
  }
  kernels.rows({narrowed.data(), stride, row_weights.view(), result.pixels.data(), result.row_bytes()});
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
