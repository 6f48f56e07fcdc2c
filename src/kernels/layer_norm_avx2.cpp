#include "kernels/layer_norm_simd.h"

namespace gondola {

void layer_norm_avx2(const LayerNormArguments& arguments) {
  layer_norm_rows(arguments);
}

}  // namespace gondola
