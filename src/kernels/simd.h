#pragma once

// The vectors of the instruction set that a unit is compiled for. Only *_avx2.cpp, *_avx512.cpp and the like may
// include this or a *_simd.h. Everything in them is local to a unit: if two units shared an inline function, the linker
// could use its AVX-512 version in code that runs on any processor.
#if defined(__AVX512F__)
#include "kernels/simd_avx512.h"
#elif defined(__AVX2__)
#include "kernels/simd_avx2.h"
#else
#error "compile this unit for AVX2 or AVX-512"
#endif
