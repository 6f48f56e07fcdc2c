#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/random.h"
#include "kernels/aligned.h"
#include "kernels/kernels.h"
#include "kernels/packed_matrix.h"
#include "tests/kernels/amx_emulator.h"

namespace gondola::test {

/// The instruction sets with their own kernels that this machine can run; AMX is emulated where only AMX is missing.
inline std::vector<Isa> kernel_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx2vnni, Isa::avx512, Isa::avx512vnni, Isa::avx512bf16})
    if (is_active(isa)) isas.push_back(isa);
  if (active_isa() < Isa::avx512bf16) return isas;
  if (active_isa() < Isa::amx) {
    // Where the processor has AMX but this process may not use it, not all of its instructions raise SIGILL.
    if (__builtin_cpu_supports("amx-tile")) return isas;
    emulate_amx();
  }
  isas.push_back(Isa::amx);
  return isas;
}

/// Every test of a suite derived from this runs once for each instruction set.
class KernelsTest : public testing::TestWithParam<Isa> {
 protected:
  const Kernels& kernels() const { return kernels_for(GetParam()); }
};

#define GONDOLA_FOR_EACH_ISA(Suite)                                                       \
  INSTANTIATE_TEST_SUITE_P(Isa, Suite, testing::ValuesIn(::gondola::test::kernel_isas()), \
                           [](const auto& isa) { return std::string(name(isa.param)); })

inline std::vector<float> random_floats(std::size_t count, Random& random, double scale = 1) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.uniform(-scale, scale));
  return values;
}

inline constexpr Epilogue epilogues[] = {Epilogue::none, Epilogue::relu, Epilogue::gelu, Epilogue::gelu_tanh,
                                         Epilogue::quick_gelu};

/// The definition of the epilogue, in double precision.
inline double exact(Epilogue epilogue, double x) {
  switch (epilogue) {
    case Epilogue::none:
      return x;
    case Epilogue::relu:
      return x > 0 ? x : 0;
    case Epilogue::gelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Epilogue::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Epilogue::quick_gelu:
      return x / (1 + std::exp(-1.702 * x));
  }
  return x;
}

/// Packs a matrix that is columns × depth, like a linear layer's weights.
struct Packed {
  Packed(const Kernels& kernels, const std::vector<float>& matrix, std::size_t depth, std::size_t columns)
      : memory(packed_bytes(Precision::fp32, depth, columns, kernels.panel_width) / sizeof(float)) {
    auto* panels = reinterpret_cast<std::byte*>(memory.data());
    pack_columns(reinterpret_cast<const std::byte*>(matrix.data()), depth * sizeof(float), depth, columns,
                 kernels.panel_width, panels);
    view = {Precision::fp32, depth, columns, panels};
  }
  AlignedFloats memory;
  PackedMatrix view;
};

}  // namespace gondola::test
