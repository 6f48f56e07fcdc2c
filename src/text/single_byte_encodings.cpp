#include "text/single_byte_encodings.h"

#include <algorithm>

#include "base/utf8.h"

namespace gondola {
namespace {

constexpr char32_t lost_character = U'\ufffd';
constexpr unsigned char lost_byte = 0x1a;

}  // namespace

char32_t SingleByteEncoding::decode(unsigned char byte) const {
  return byte < 0x80 ? byte : high[byte - 0x80];
}

std::optional<std::string> SingleByteEncoding::encode(std::string_view utf8) const {
  std::string bytes;
  bytes.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    const char32_t c = next_code_point(utf8, at);
    if (c < 0x80 && !(sloppy && c == lost_byte)) {
      bytes += static_cast<char>(c);
    } else if (sloppy && c == lost_character) {
      bytes += static_cast<char>(lost_byte);
    } else {
      const auto found = std::find(high.begin(), high.end(), c);
      if (found == high.end()) return std::nullopt;
      bytes += static_cast<char>(0x80 + (found - high.begin()));
    }
  }
  return bytes;
}

const SingleByteEncoding& windows_1252() {
  return single_byte_encodings[1];
}

}  // namespace gondola
