#include <algorithm>

#include "image/resample_kernels.h"

namespace gondola {
namespace {

std::uint8_t clip_to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}

void keep(std::int32_t*, std::size_t) {}

void columns(const ColumnsArguments& a) {
  const std::size_t width = a.row_bytes / a.channels;
  for (std::size_t row = 0; row < 4; ++row) {
    std::uint8_t* out = a.out + row;
    for (std::size_t x = 0; x < a.weights.count; ++x) {
      const TapGroups taps = a.weights.taps[x];
      const std::size_t first = 4 * (taps.first - a.weights.taps[0].first);
      const std::uint8_t* in = a.rows[row] + first * a.channels;
      const std::int32_t* weights = a.weights.weights + taps.weights;
      const std::size_t count = std::min(4 * taps.count, width - first);
      for (std::size_t c = 0; c < a.channels; ++c, out += 4) {
        std::int32_t sum = weight_rounding;
        for (std::size_t i = 0; i < count; ++i) sum += in[i * a.channels + c] * weights[i];
        *out = clip_to_byte(sum);
      }
    }
  }
}

void rows(const RowsArguments& a) {
  std::uint8_t* out = a.out;
  for (std::size_t y = 0; y < a.weights.count; ++y) {
    const TapGroups taps = a.weights.taps[y];
    const std::int32_t* weights = a.weights.weights + taps.weights;
    for (std::size_t column = 0; column < a.out_bytes; ++column) {
      const std::uint8_t* in = a.in + taps.first * a.in_stride + 4 * column;
      std::int32_t sum = weight_rounding;
      for (std::size_t i = 0; i < 4 * taps.count; ++i) sum += in[i / 4 * a.in_stride + i % 4] * weights[i];
      *out++ = clip_to_byte(sum);
    }
  }
}

}  // namespace

constinit const ResampleKernels resample_scalar = {4, keep, columns, rows};

}  // namespace gondola
