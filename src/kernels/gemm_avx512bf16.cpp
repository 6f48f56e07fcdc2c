#include "kernels/gemm_simd.h"

namespace gondola {

void gemm_bf16_avx512bf16(const GemmArguments& arguments) {
  multiply<Bf16Dot, 14>(arguments);
}

}  // namespace gondola
