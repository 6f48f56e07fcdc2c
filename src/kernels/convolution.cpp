#include "kernels/convolution.h"

#include <algorithm>
#include <cassert>

namespace gondola {
namespace {

constexpr std::size_t taps = 9;
constexpr std::size_t block_pixels = 256;

/// Finds the nine neighbours of output pixels [first, first + count): neighbours[tap·count + pixel].
void find_neighbours(const ConvolutionArguments& c, std::size_t first, std::size_t count,
                     const std::byte** neighbours) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t pixel = first + i, x = pixel % c.width, y = pixel / c.width % c.height;
    for (std::size_t tap = 0; tap < taps; ++tap) {
      const std::size_t ky = tap / 3, kx = tap % 3;
      const bool inside = y + ky >= 1 && y + ky <= c.height && x + kx >= 1 && x + kx <= c.width;
      const float* neighbour = inside ? c.in + (pixel + ky * c.width + kx - c.width - 1) * c.in_channels : c.zeros;
      neighbours[tap * count + i] = reinterpret_cast<const std::byte*>(neighbour);
    }
  }
}

}  // namespace

void convolve_3x3(const Kernels& kernels, const ConvolutionArguments& c) {
  const std::byte* neighbours[taps * block_pixels];
  for (std::size_t first = c.first_pixel; first < c.last_pixel; first += block_pixels) {
    const std::size_t count = std::min(block_pixels, c.last_pixel - first);
    find_neighbours(c, first, count, neighbours);
    GemmArguments g;
    g.rows = count;
    g.left_rows = neighbours;
    g.taps = taps;
    g.right = c.weight;
    g.first_panel = c.first_panel;
    g.last_panel = c.last_panel;
    g.bias = c.bias;
    g.epilogue = c.epilogue;
    g.out = c.out + first * c.weight.columns;
    g.out_stride = c.weight.columns;
    kernels.gemm(g);
  }
}

void gather_patches(const PatchArguments& p) {
  assert(p.padding <= p.kernel);
  const std::size_t columns = p.out_width();
  for (std::size_t row = p.first_row; row < p.last_row; ++row) {
    const std::size_t top = row / columns * p.stride, left = row % columns * p.stride;  // in the padded image
    float* out = p.out + row * p.out_stride;
    for (std::size_t channel = 0; channel < p.channels; ++channel) {
      for (std::size_t ky = 0; ky < p.kernel; ++ky, out += p.kernel) {
        const std::size_t y = top + ky;
        if (y < p.padding || y - p.padding >= p.height) {
          std::fill_n(out, p.kernel, 0.0f);
          continue;
        }
        const float* line = p.in + (channel * p.height + y - p.padding) * p.width;
        // Columns [first, last) of the kernel lie inside the image.
        const std::size_t first = left < p.padding ? p.padding - left : 0;
        const std::size_t last = std::min(p.kernel, p.width + p.padding - left);
        std::fill_n(out, first, 0.0f);
        std::copy(line + left + first - p.padding, line + left + last - p.padding, out + first);
        std::fill(out + last, out + p.kernel, 0.0f);
      }
    }
  }
}

void average_pool_2x2(const PoolingArguments& p) {
  const std::size_t out_height = p.height / 2, out_width = p.width / 2, line = p.width * p.channels;
  for (std::size_t row = p.first_row; row < p.last_row; ++row) {
    const std::size_t image = row / out_height, y = row % out_height;
    const float* top = p.in + (image * p.height + 2 * y) * line;
    float* out = p.out + row * out_width * p.channels;
    for (std::size_t x = 0; x < out_width; ++x, top += 2 * p.channels, out += p.channels) {
      const float* bottom = top + line;
      for (std::size_t c = 0; c < p.channels; ++c)
        out[c] = 0.25f * (top[c] + top[p.channels + c] + bottom[c] + bottom[p.channels + c]);
    }
  }
}

}  // namespace gondola
