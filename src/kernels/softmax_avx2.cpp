#include "kernels/softmax_simd.h"

namespace gondola {

void softmax_avx2(const SoftmaxArguments& arguments) {
  softmax_rows(arguments);
}

}  // namespace gondola
