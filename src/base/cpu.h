#pragma once

#include <string_view>

namespace gondola {

/// Instruction sets in ascending order: each includes those before it, except that AVX-512 does not imply avx2vnni.
enum class Isa { scalar, avx2, avx2vnni, avx512, avx512vnni, avx512bf16, amx };

std::string_view name(Isa isa);

/// The best instruction set that both the processor and the operating system support, or the smaller one that the
/// environment variable GONDOLA_ISA names. Throws Error if GONDOLA_ISA is not a known name or names one that this
/// machine does not support. Computed once.
Isa active_isa();

/// Whether the active instruction set includes this one.
bool is_active(Isa isa);

}  // namespace gondola
