#include "kernels/kernels.h"

namespace gondola {

const Kernels& kernels_for(Isa isa) {
  static constexpr Kernels scalar = {scalar_panel_width,
                                     {gemm_scalar, gemm_scalar, gemm_scalar},
                                     {peak_scalar, peak_scalar, peak_scalar},
                                     false,
                                     convert_scalar,
                                     layer_norm_scalar,
                                     softmax_scalar};
  static constexpr Kernels avx2 = {avx2_panel_width,
                                   {gemm_fp32_avx2, gemm_bf16_avx2, gemm_int8_avx2},
                                   {peak_fp32_avx2, peak_bf16_avx2, peak_int8_avx2},
                                   false,
                                   convert_avx2,
                                   layer_norm_avx2,
                                   softmax_avx2};
  static constexpr Kernels avx2vnni = {avx2_panel_width,
                                       {gemm_fp32_avx2, gemm_bf16_avx2, gemm_int8_avx2vnni},
                                       {peak_fp32_avx2, peak_bf16_avx2, peak_int8_avx2vnni},
                                       false,
                                       convert_avx2,
                                       layer_norm_avx2,
                                       softmax_avx2};
  static constexpr Kernels avx512 = {avx512_panel_width,
                                     {gemm_fp32_avx512, gemm_bf16_avx512, gemm_int8_avx512},
                                     {peak_fp32_avx512, peak_bf16_avx512, peak_int8_avx512},
                                     false,
                                     convert_avx512,
                                     layer_norm_avx512,
                                     softmax_avx512};
  static constexpr Kernels avx512vnni = {avx512_panel_width,
                                         {gemm_fp32_avx512, gemm_bf16_avx512, gemm_int8_avx512vnni},
                                         {peak_fp32_avx512, peak_bf16_avx512, peak_int8_avx512vnni},
                                         false,
                                         convert_avx512,
                                         layer_norm_avx512,
                                         softmax_avx512};
  static constexpr Kernels avx512bf16 = {avx512_panel_width,
                                         {gemm_fp32_avx512, gemm_bf16_avx512bf16, gemm_int8_avx512vnni},
                                         {peak_fp32_avx512, peak_bf16_avx512bf16, peak_int8_avx512vnni},
                                         true,
                                         convert_avx512,
                                         layer_norm_avx512,
                                         softmax_avx512};
  switch (isa) {
    case Isa::scalar:
      return scalar;
    case Isa::avx2:
      return avx2;
    case Isa::avx2vnni:
      return avx2vnni;
    case Isa::avx512:
      return avx512;
    case Isa::avx512vnni:
      return avx512vnni;
    case Isa::avx512bf16:
    case Isa::amx:
      return avx512bf16;
  }
  return scalar;
}

}  // namespace gondola
