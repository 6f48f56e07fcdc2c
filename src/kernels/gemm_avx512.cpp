#include "kernels/gemm_simd.h"

namespace gondola {

static_assert(panel_width == avx512_panel_width);

// Thirty-two registers: two sums per row, and two vectors of the panel and one of the row (of bf16, which is split,
// four and two); in int8 also the ones of add_pairs.
void gemm_fp32_avx512(const GemmArguments& arguments) {
  multiply<Fp32Dot, 14>(arguments);
}
std::size_t peak_fp32_avx512(std::size_t steps) {
  return run_peak_loop<Fp32Dot>(steps);
}
void gemm_bf16_avx512(const GemmArguments& arguments) {
  multiply<SplitBf16Dot, 12>(arguments);
}
std::size_t peak_bf16_avx512(std::size_t steps) {
  return run_peak_loop<SplitBf16Dot>(steps);
}
void gemm_int8_avx512(const GemmArguments& arguments) {
  multiply<Int8Dot, 14>(arguments);
}
std::size_t peak_int8_avx512(std::size_t steps) {
  return run_peak_loop<Int8Dot>(steps);
}

}  // namespace gondola
