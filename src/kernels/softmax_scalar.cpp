#include <algorithm>
#include <cmath>

#include "kernels/softmax.h"

namespace gondola {

void softmax_scalar(const SoftmaxArguments& s) {
  for (std::size_t row = 0; row < s.rows; ++row) {
    float* scores = s.scores + row * s.stride;
    const std::size_t visible = s.causal ? std::min(s.columns, s.first_visible + row) : s.columns;
    const float maximum = *std::max_element(scores, scores + visible);
    float sum = 0;
    for (std::size_t i = 0; i < visible; ++i) sum += scores[i] = std::exp(scores[i] - maximum);
    for (std::size_t i = 0; i < visible; ++i) scores[i] /= sum;
    std::fill(scores + visible, scores + s.columns, 0.0f);
  }
}

}  // namespace gondola
