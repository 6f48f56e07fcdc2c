#pragma once

#include <string_view>

namespace gondola {

/// Instruction sets in ascending order: each includes those before it, but for avx2vnni, which AVX-512 does not imply.
enum class Isa { scalar, avx2, avx2vnni, avx512, avx512vnni, avx512bf16, amx };

std::string_view name(Isa isa);

/// The best instruction set that the processor has and the operating system has enabled the state for, lowered by the
/// environment variable GONDOLA_ISA where that names a smaller one. Throws Error when GONDOLA_ISA is not a known name
/// or names one that this machine lacks. Computed once.
Isa active_isa();

/// Whether the active instruction set includes this one.
bool is_active(Isa isa);

}  // namespace gondola
