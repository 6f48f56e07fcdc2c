#include "kernels/gemm_simd.h"

namespace gondola {

static_assert(panel_width == avx2_panel_width);

void gemm_avx2(const GemmArguments& arguments) {
  multiply<6>(arguments);
}

}  // namespace gondola
