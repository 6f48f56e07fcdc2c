#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace gondola {

/// An encoding with one byte per character whose lower half is ASCII. A "sloppy" one maps undefined bytes to the code
/// points of the same number and encodes U+FFFD, a lost character, as 0x1A (ftfy/bad_codecs/sloppy.py).
struct SingleByteEncoding {
  std::string_view name;
  bool sloppy;
  std::array<char16_t, 128> high;  ///< code points of the bytes 0x80 to 0xFF

  /// The bytes of a text, or nothing if the encoding lacks one of its characters.
  std::optional<std::string> encode(std::string_view utf8) const;
  /// The character of a byte; 0x1A stands for itself.
  char32_t decode(unsigned char byte) const;
};

/// The encodings that ftfy considers, in its order.
extern const std::array<SingleByteEncoding, 10> single_byte_encodings;

const SingleByteEncoding& windows_1252();

}  // namespace gondola
