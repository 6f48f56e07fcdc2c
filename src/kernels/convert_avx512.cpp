#include "kernels/rows_simd.h"

namespace gondola {

void convert_avx512(const ConvertArguments& arguments) {
  convert_rows(arguments);
}

}  // namespace gondola
