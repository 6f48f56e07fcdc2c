#include "kernels/kernels.h"

namespace gondola {

namespace {

/// `base` with other functions for products in one precision.
constexpr Kernels with(Kernels base, Precision precision, GemmFunction* gemm, PeakFunction* peak) {
  base.gemm_of[static_cast<std::size_t>(precision)] = gemm;
  base.peak_of[static_cast<std::size_t>(precision)] = peak;
  if (precision == Precision::int8) base.int8_weight_limit = 127;
  base.native_bf16 = base.native_bf16 || precision == Precision::bf16;
  return base;
}

constexpr Kernels scalar = {scalar_panel_width,
                            {gemm_scalar, gemm_scalar, gemm_scalar},
                            {peak_scalar, peak_scalar, peak_scalar},
                            false,
                            127,
                            convert_scalar,
                            layer_norm_scalar,
                            softmax_scalar};
constexpr Kernels avx2 = {avx2_panel_width,
                          {gemm_fp32_avx2, gemm_bf16_avx2, gemm_int8_avx2},
                          {peak_fp32_avx2, peak_bf16_avx2, peak_int8_avx2},
                          false,
                          64,
                          convert_avx2,
                          layer_norm_avx2,
                          softmax_avx2};
constexpr Kernels avx2vnni = with(avx2, Precision::int8, gemm_int8_avx2vnni, peak_int8_avx2vnni);
constexpr Kernels avx512 = {avx512_panel_width,
                            {gemm_fp32_avx512, gemm_bf16_avx512, gemm_int8_avx512},
                            {peak_fp32_avx512, peak_bf16_avx512, peak_int8_avx512},
                            false,
                            64,
                            convert_avx512,
                            layer_norm_avx512,
                            softmax_avx512};
constexpr Kernels avx512vnni = with(avx512, Precision::int8, gemm_int8_avx512vnni, peak_int8_avx512vnni);
constexpr Kernels avx512bf16 = with(with(avx512vnni, Precision::int8, gemm_int8_avx512bf16, peak_int8_avx512vnni),
                                    Precision::bf16, gemm_bf16_avx512bf16, peak_bf16_avx512bf16);
constexpr Kernels amx = with(with(avx512bf16, Precision::int8, gemm_int8_amx, peak_int8_amx), Precision::bf16,
                             gemm_bf16_amx, peak_bf16_amx);

}  // namespace

const Kernels& kernels_for(Isa isa) {
  constexpr const Kernels* by_isa[] = {&scalar, &avx2, &avx2vnni, &avx512, &avx512vnni, &avx512bf16, &amx};
  return *by_isa[static_cast<std::size_t>(isa)];
}

}  // namespace gondola
