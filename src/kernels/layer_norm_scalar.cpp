#include <cmath>
#include <vector>

#include "kernels/layer_norm.h"

namespace gondola {

void layer_norm_scalar(const LayerNormArguments& n) {
  std::vector<float> normal(n.width);
  for (std::size_t row = 0; row < n.rows; ++row) {
    const float* in = n.in + row * n.in_stride;
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < n.width; ++i) sum += in[i];
    const double mean = sum / static_cast<double>(n.width);
    for (std::size_t i = 0; i < n.width; ++i) squares += (in[i] - mean) * (in[i] - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n.width) + static_cast<double>(n.eps));
    for (std::size_t i = 0; i < n.width; ++i)
      normal[i] = static_cast<float>((in[i] - mean) * scale) * n.weight[i] + n.bias[i];
    convert_scalar({1, n.width, normal.data(), n.width, n.out.from(row)});
  }
}

}  // namespace gondola
