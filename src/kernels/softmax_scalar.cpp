#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "kernels/softmax.h"

namespace gondola {

void softmax_scalar(const SoftmaxArguments& s) {
  for (std::size_t row = 0; row < s.rows; ++row) {
    float* scores = s.scores + row * s.stride;
    const std::size_t visible = s.causal ? std::min(s.columns, s.visible_to_first + row) : s.columns;
    const float maximum = *std::max_element(scores, scores + visible);
    float sum = 0;
    for (std::size_t i = 0; i < visible; ++i) sum += scores[i] = std::exp(scores[i] - maximum);
    const std::size_t at = row * s.out.stride;
    for (std::size_t i = 0; i < s.out_columns; ++i) {
      const float value = i < visible ? scores[i] / sum : 0;
      if (s.out.precision == Precision::fp32) {
        static_cast<float*>(s.out.data)[at + i] = value;
      } else {
        static_cast<std::uint16_t*>(s.out.data)[at + i] = bfloat16_from_float(value);
      }
    }
  }
}

}  // namespace gondola
