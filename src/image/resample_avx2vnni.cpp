#include "image/resample_simd.h"

namespace gondola {

constinit const ResampleKernels resample_avx2vnni = {lanes, pack_weights, resample_columns, resample_rows};

}  // namespace gondola
