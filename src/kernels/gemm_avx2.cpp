#include "kernels/gemm_simd.h"

namespace gondola {

static_assert(panel_width == avx2_panel_width);

// Sixteen registers: two sums a row, the panel's vectors (four when split) and the row's (one or two).
void gemm_fp32_avx2(const GemmArguments& arguments) {
  multiply<Fp32Dot, 6>(arguments);
}
void gemm_bf16_avx2(const GemmArguments& arguments) {
  multiply<SplitBf16Dot, 4>(arguments);
}
void gemm_int8_avx2(const GemmArguments& arguments) {
  multiply<SplitInt8Dot, 4>(arguments);
}

}  // namespace gondola
