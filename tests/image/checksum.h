#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>

namespace gondola::test {

inline std::uint32_t crc32(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

/// Eight hexadecimal digits.
inline std::string checksum(std::span<const std::byte> bytes) {
  return fmt::format("{:08x}", crc32(bytes));
}

template <class... Types>
std::string checksum(const std::vector<Types...>& values) {
  return checksum(std::as_bytes(std::span(values)));
}

}  // namespace gondola::test
