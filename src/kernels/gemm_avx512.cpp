#include "kernels/gemm_simd.h"

namespace gondola {

static_assert(panel_width == avx512_panel_width);

void gemm_avx512(const GemmArguments& arguments) {
  multiply<14>(arguments);
}

}  // namespace gondola
