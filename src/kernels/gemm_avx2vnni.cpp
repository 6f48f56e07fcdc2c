#include "kernels/gemm_simd.h"

namespace gondola {

void gemm_int8_avx2vnni(const GemmArguments& arguments) {
  multiply<Int8Dot, 6>(arguments);
}

}  // namespace gondola
