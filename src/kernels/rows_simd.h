#pragma once

// Writes the rows of layer_norm_*.cpp, softmax_*.cpp and convert_*.cpp.
#include "kernels/rows.h"
#include "kernels/simd.h"

namespace gondola {
namespace {

/// Writes one block in int8; at(i) returns the values i … i + lanes of the row.
template <class Values>
void write_bytes(std::uint8_t* out, RowScale& scale, std::size_t first, std::size_t last, const Values& at) {
  Vector least = broadcast(0), largest = least, not_a_number = least;
  for (std::size_t i = first; i < last; i += lanes) {
    const Vector x = keep_first(at(i), last - i, broadcast(0));
    least = minimum(least, x);
    largest = maximum(largest, x);
    not_a_number = multiply_add(x, broadcast(0), not_a_number);  // minima and maxima may lose it
  }
  scale = row_scale(-maximum_of(broadcast(0) - least), maximum_of(largest));
  scale.scale += sum_of(not_a_number);
  const Vector inverse = broadcast(scale.scale > 0 ? 1 / scale.scale : 0);
  const Vector zero = broadcast(static_cast<float>(scale.zero));
  for (std::size_t i = first; i < last; i += lanes)
    store_first_bytes(out + i, multiply_add(at(i), inverse, zero), last - i);
}

/// Writes one row; at(i) returns its values i … i + lanes.
template <class Values>
void write_row(const RowsOut& out, std::size_t row, std::size_t width, const Values& at) {
  switch (out.precision) {
    case Precision::fp32:
      for (std::size_t i = 0; i < width; i += lanes)
        store_first(static_cast<float*>(out.data) + row * out.stride + i, at(i), width - i);
      return;
    case Precision::bf16:
      for (std::size_t i = 0; i < width; i += lanes)
        store_first_bf16(static_cast<std::uint16_t*>(out.data) + row * out.stride + i, at(i), width - i);
      return;
    case Precision::int8: {
      const DepthBlocks blocks(width);
      for (std::size_t block = 0; block < blocks.count(); ++block)
        write_bytes(static_cast<std::uint8_t*>(out.data) + row * out.stride,
                    out.scales[row * out.scales_stride + block], blocks.first(block), blocks.first(block + 1), at);
    }
  }
}

inline void convert_rows(const ConvertArguments& c) {
  for (std::size_t row = 0; row < c.rows; ++row) {
    const float* in = c.in + row * c.in_stride;
    write_row(c.out, row, c.width, [&](std::size_t i) { return load_first(in + i, c.width - i); });
  }
}

}  // namespace
}  // namespace gondola
