#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include <fmt/format.h>

namespace gondola::test {

/// As zlib.crc32 in the golden files' generator.
inline std::uint32_t crc32(std::span<const std::byte> bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      entries[i] = i;
      for (int bit = 0; bit < 8; ++bit) entries[i] = (entries[i] >> 1) ^ ((entries[i] & 1) != 0 ? 0xedb88320u : 0u);
    }
    return entries;
  }();
  std::uint32_t crc = 0xffffffffu;
  for (std::byte byte : bytes) crc = table[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
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
