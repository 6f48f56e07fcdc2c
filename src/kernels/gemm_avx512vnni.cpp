#include "kernels/gemm_simd.h"

namespace gondola {

void gemm_int8_avx512vnni(const GemmArguments& arguments) {
  multiply<Int8Dot, 14>(arguments);
}

}  // namespace gondola
