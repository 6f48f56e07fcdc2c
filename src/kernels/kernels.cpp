#include "kernels/kernels.h"

namespace gondola {

const Kernels& kernels_for(Isa isa) {
  static constexpr Kernels scalar = {scalar_panel_width, gemm_scalar, layer_norm_scalar, softmax_scalar};
  static constexpr Kernels avx2 = {avx2_panel_width, gemm_avx2, layer_norm_avx2, softmax_avx2};
  static constexpr Kernels avx512 = {avx512_panel_width, gemm_avx512, layer_norm_avx512, softmax_avx512};
  if (isa >= Isa::avx512) return avx512;
  return isa >= Isa::avx2 ? avx2 : scalar;
}

}  // namespace gondola
