#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "kernels/rows.h"

namespace gondola {
namespace {

void quantize_row(const float* in, std::size_t width, std::uint8_t* out, RowScale* scales) {
  const DepthBlocks blocks(width);
  for (std::size_t block = 0; block < blocks.count(); ++block) {
    const auto [least, largest] = std::minmax_element(in + blocks.first(block), in + blocks.first(block + 1));
    RowScale& scale = scales[block] = row_scale(*least, *largest);
    for (std::size_t i = blocks.first(block); i < blocks.first(block + 1); ++i) scale.scale += 0 * in[i];
    for (std::size_t i = blocks.first(block); i < blocks.first(block + 1); ++i) {
      const float level = scale.scale > 0 ? in[i] * (1 / scale.scale) + static_cast<float>(scale.zero) : 0;
      out[i] = level > 0 ? static_cast<std::uint8_t>(std::min(std::nearbyint(level), 255.0f)) : 0;  // NaN: 0
    }
  }
}

}  // namespace

void convert_scalar(const ConvertArguments& c) {
  for (std::size_t row = 0; row < c.rows; ++row) {
    const float* in = c.in + row * c.in_stride;
    const std::size_t at = row * c.out.stride;
    switch (c.out.precision) {
      case Precision::fp32:
        std::copy_n(in, c.width, static_cast<float*>(c.out.data) + at);
        break;
      case Precision::bf16:
        std::transform(in, in + c.width, static_cast<std::uint16_t*>(c.out.data) + at, bfloat16_from_float);
        break;
      case Precision::int8:
        quantize_row(in, c.width, static_cast<std::uint8_t*>(c.out.data) + at,
                     c.out.scales + row * c.out.scales_stride);
    }
  }
}

}  // namespace gondola
