#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/utf8.h"

namespace gondola {

/// The suffix of a token that ends a word.
inline constexpr const char* end_of_word = "</w>";
inline constexpr const char* start_of_text = "<|startoftext|>";
inline constexpr const char* end_of_text = "<|endoftext|>";

/// How each byte is written in a vocabulary (GPT-2's bytes_to_unicode): printable bytes as themselves, the others as
/// U+0100 and up. `order` is the order of the bytes in a CLIP vocabulary.
struct ByteAlphabet {
  std::array<std::string, 256> letters;
  std::array<std::uint8_t, 256> order;

  ByteAlphabet() {
    const auto is_printable = [](unsigned byte) {
      return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    };
    std::size_t count = 0;
    for (unsigned byte = 0; byte < 256; ++byte)
      if (is_printable(byte)) {
        append_utf8(letters[byte], byte);
        order[count++] = static_cast<std::uint8_t>(byte);
      }
    for (unsigned byte = 0, other = 0x100; byte < 256; ++byte)
      if (!is_printable(byte)) {
        append_utf8(letters[byte], other++);
        order[count++] = static_cast<std::uint8_t>(byte);
      }
  }
};

inline const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace gondola
