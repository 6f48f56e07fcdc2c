#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace gondola {

/// A 3×3 convolution with padding 1 and stride 1 of images in NHWC order, as a product whose left operand is gathered:
/// no patch is copied (the indirect convolution of Dukhan 2019).
struct ConvolutionArguments {
  std::size_t height = 0, width = 0, in_channels = 0;
  const float* in = nullptr;
  const float* zeros = nullptr;  ///< in_channels zeros, for pixels outside the image
  PackedMatrix weight;           ///< [ky][kx][in_channels] × out channels, fp32
  const float* bias = nullptr;   ///< padded to whole panels
  Epilogue epilogue = Epilogue::none;
  float* out = nullptr;                         ///< images × height × width × out channels
  std::size_t first_pixel = 0, last_pixel = 0;  ///< the output pixels to compute, of images·height·width …
  std::size_t first_panel = 0, last_panel = 0;  ///< … and the panels of output channels
};

void convolve_3x3(const Kernels& kernels, const ConvolutionArguments& arguments);

/// Patches of an image in CHW order as rows: row (y, x) holds the kernel × kernel window at (y, x)·stride − padding of
/// every channel in the order [channel][ky][kx], zeros outside. Rows [first_row, last_row) are written to
/// out + row·out_stride.
struct PatchArguments {
  std::size_t channels = 0, height = 0, width = 0;
  std::size_t kernel = 0, stride = 0, padding = 0;  ///< padding: at most the kernel
  const float* in = nullptr;
  float* out = nullptr;
  std::size_t out_stride = 0;
  std::size_t first_row = 0, last_row = 0;

  std::size_t out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
  std::size_t out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
};

void gather_patches(const PatchArguments& arguments);

/// 2×2 average pooling with stride 2 (an odd last row or column is left out) of images in NHWC order. Computes output
/// rows [first_row, last_row) of images·(height/2).
struct PoolingArguments {
  std::size_t height = 0, width = 0, channels = 0;
  const float* in = nullptr;
  float* out = nullptr;
  std::size_t first_row = 0, last_row = 0;
};

void average_pool_2x2(const PoolingArguments& arguments);

}  // namespace gondola
