#include "kernels/gemm_simd.h"

namespace gondola {

void gemm_int8_avx2vnni(const GemmArguments& arguments) {
  multiply<Int8Dot, 6>(arguments);
}
std::size_t peak_int8_avx2vnni(std::size_t steps) {
  return run_peak_loop<Int8Dot>(steps);
}

}  // namespace gondola
