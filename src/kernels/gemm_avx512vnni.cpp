#include "kernels/gemm_simd.h"

namespace gondola {

void gemm_int8_avx512vnni(const GemmArguments& arguments) {
  multiply<Int8Dot, 14>(arguments);
}
std::size_t peak_int8_avx512vnni(std::size_t steps) {
  return run_peak_loop<Int8Dot>(steps);
}

}  // namespace gondola
