#include "kernels/gemm_simd.h"

namespace gondola {

void gemm_bf16_avx512bf16(const GemmArguments& arguments) {
  multiply<Bf16Dot, 14>(arguments);
}
// Compiled again here to use the instruction that rounds results to bf16.
void gemm_int8_avx512bf16(const GemmArguments& arguments) {
  multiply<Int8Dot, 14>(arguments);
}
std::size_t peak_bf16_avx512bf16(std::size_t steps) {
  return run_peak_loop<Bf16Dot>(steps);
}

}  // namespace gondola
