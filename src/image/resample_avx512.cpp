#include "image/resample_simd.h"

namespace gondola {

constinit const ResampleKernels resample_avx512 = {lanes, words_per_group, pack_weights, resample_columns, resample_rows};

}  // namespace gondola
