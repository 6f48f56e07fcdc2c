#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace gondola {

/// The number format of an operand: IEEE binary32, bfloat16 (its upper half), or 8-bit integers with a scale.
enum class Precision { fp32, bf16, int8 };

inline constexpr std::array<std::string_view, 3> precision_names = {"fp32", "bf16", "int8"};

constexpr std::string_view name(Precision precision) {
  return precision_names[static_cast<std::size_t>(precision)];
}
/// Parses "fp32", "bf16" or "int8"; nullopt for "auto". Throws Error for other names.
std::optional<Precision> parse_precision(std::string_view name);

/// Bytes of one value.
[[gnu::always_inline]] constexpr std::size_t size_of(Precision precision) {
  return precision == Precision::fp32 ? 4 : precision == Precision::bf16 ? 2 : 1;
}

}  // namespace gondola
