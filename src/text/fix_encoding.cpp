#include "text/fix_encoding.h"

#include <algorithm>
#include <optional>

#include "base/utf8.h"
#include "text/mojibake_patterns.h"
#include "text/regex.h"
#include "text/single_byte_encodings.h"

namespace gondola {
namespace {

bool is_bad(std::string_view text) {
  static const Regex pattern(badness_pattern, Regex::Mode::utf8);
  return pattern.find(text).has_value();
}

/// Matches sequences that would be UTF-8 if a byte 0xA0 had not become a space (ftfy/chardata.py, ALTERED_UTF8_RE).
const Regex& altered_utf8() {
  static const Regex pattern(R"([\xc2\xc3\xc5\xce\xd0\xd9][ ])"
                             R"(|[\xe2\xe3][ ][\x80-\x84\x86-\x9f\xa1-\xbf])"
                             R"(|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf][ ])"
                             R"(|\xf0[ ][\x80-\xbf][\x80-\xbf])"
                             R"(|\xf0[\x80-\xbf][ ][\x80-\xbf])"
                             R"(|\xf0[\x80-\xbf][\x80-\xbf][ ])",
                             Regex::Mode::bytes);
  return pattern;
}

std::string restore_byte_a0(std::string_view bytes) {
  static const Regex a_grave_word(R"(\xc3[ ](?![ ]|quele|quela|quilo|s[ ]))", Regex::Mode::bytes);
  const std::string with_words = a_grave_word.replace(bytes, [](std::string_view) { return "\xc3\xa0 "; });
  return altered_utf8().replace(with_words, [](std::string_view match) {
    std::string restored(match);
    std::replace(restored.begin(), restored.end(), ' ', '\xa0');
    return restored;
  });
}

/// Replaces sequences that have lost bytes with U+FFFD (ftfy/chardata.py, LOSSY_UTF8_RE).
std::string replace_lossy_sequences(std::string_view bytes) {
  static const Regex pattern(R"([\xc2-\xdf]\x1a)"
                             R"(|[\xc2-\xc3][?])"
                             R"(|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf])"
                             R"(|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?])"
                             R"(|[\xe0-\xef][\x1a?][\x1a\x80-\xbf])"
                             R"(|[\xe0-\xef][\x1a\x80-\xbf][\x1a?])"
                             R"(|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf])"
                             R"(|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf])"
                             R"(|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?])"
                             R"(|\x1a)",
                             Regex::Mode::bytes);
  return pattern.replace(bytes, [](std::string_view) { return "\xef\xbf\xbd"; });
}

std::optional<std::string> decode_utf8(std::string_view bytes) {
  if (!is_valid_utf8(bytes)) return std::nullopt;
  return std::string(bytes);
}

/// Decodes UTF-8, or its variants that write a code point past U+FFFF as two surrogates (CESU-8) or U+0000 as C0 80
/// (ftfy/bad_codecs/utf8_variants.py, including its treatment of a final line break).
std::optional<std::string> decode_utf8_variants(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const auto is_end = [&](std::size_t i) { return i == bytes.size() || (i + 1 == bytes.size() && bytes[i] == '\n'); };
  const auto is_between = [&](std::size_t i, unsigned char low, unsigned char high) {
    return is_end(i) || (byte(i) >= low && byte(i) <= high);
  };
  std::string text;
  std::size_t done = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    const bool is_null = byte(at) == 0xc0 && at + 1 < bytes.size() && is_between(at + 1, 0x80, 0x80);
    const bool is_surrogate = byte(at) == 0xed && at + 1 < bytes.size() && byte(at + 1) >= 0xa0 && byte(at + 1) <= 0xbf;
    if (!is_null && !is_surrogate) {
      ++at;
      continue;
    }
    const auto before = decode_utf8(bytes.substr(done, at - done));
    if (!before) return std::nullopt;
    text += *before;
    if (is_null) {
      text += '\0';
      at += 2;
    } else {
      const bool is_pair = bytes.size() - at >= 6 && byte(at + 1) <= 0xaf && is_between(at + 2, 0x80, 0xbf) &&
                           byte(at + 3) == 0xed && is_between(at + 4, 0xb0, 0xbf) && is_between(at + 5, 0x80, 0xbf);
      if (!is_pair) return std::nullopt;
      append_utf8(text, (static_cast<char32_t>(byte(at + 1) & 0x0f) << 16) +
                            (static_cast<char32_t>(byte(at + 2) & 0x3f) << 10) +
                            (static_cast<char32_t>(byte(at + 4) & 0x0f) << 6) + (byte(at + 5) & 0x3fu) + 0x10000);
      at += 6;
    }
    done = at;
  }
  const auto rest = decode_utf8(bytes.substr(done));
  if (!rest) return std::nullopt;
  return text + *rest;
}

/// The original text, if its UTF-8 bytes were decoded in `encoding` by mistake.
std::optional<std::string> decode_again(const SingleByteEncoding& encoding, std::string bytes) {
  if (encoding.name != "macroman" && altered_utf8().find(bytes)) bytes = restore_byte_a0(bytes);
  if (encoding.sloppy) bytes = replace_lossy_sequences(bytes);
  const bool variants = bytes.find('\xed') != std::string::npos || bytes.find('\xc0') != std::string::npos;
  return variants ? decode_utf8_variants(bytes) : decode_utf8(bytes);
}

/// Repairs each part that looks like UTF-8 decoded in another encoding, on its own.
std::string fix_embedded(std::string_view text, std::size_t& work) {
  static const Regex pattern(utf8_detector_pattern, Regex::Mode::utf8);
  return pattern.replace(text, [&](std::string_view match) {
    return match.size() < text.size() && is_bad(match) ? fix_encoding(match, work) : std::string(match);
  });
}

/// Decodes as Windows-1252, which Latin-1 text with control characters was meant to be. Nothing if Windows-1252 has no
/// character there either.
std::optional<std::string> decode_as_windows_1252(std::string_view latin1) {
  std::string text;
  for (char c : latin1) {
    const char32_t code_point = windows_1252().decode(static_cast<unsigned char>(c));
    if (code_point >= 0x80 && code_point <= 0x9f) return std::nullopt;  // a hole that only the sloppy form fills
    append_utf8(text, code_point);
  }
  return text;
}

std::string fix_encoding_once(const std::string& text, std::size_t& work) {
  if (is_ascii(text) || !is_bad(text)) return text;
  std::optional<std::string> latin1;
  for (const SingleByteEncoding& encoding : single_byte_encodings) {
    const auto bytes = encoding.encode(text);
    if (!bytes) continue;
    if (encoding.name == "latin-1") latin1 = bytes;
    if (auto fixed = decode_again(encoding, *bytes)) return *fixed;
  }
  if (std::string fixed = fix_embedded(text, work); fixed != text) return fixed;
  if (latin1)
    if (const auto fixed = decode_as_windows_1252(*latin1); fixed && *fixed != text) return *fixed;
  return fix_c1_controls(text);
}

}  // namespace

std::string fix_c1_controls(std::string_view utf8) {
  std::string fixed;
  for (std::size_t at = 0; at < utf8.size();) {
    const char32_t c = next_code_point(utf8, at);
    append_utf8(fixed, c >= 0x80 && c <= 0x9f ? windows_1252().decode(static_cast<unsigned char>(c)) : c);
  }
  return fixed;
}

std::string fix_encoding(std::string_view utf8, std::size_t& work) {
  std::string text(utf8);
  while (work >= text.size()) {
    work -= text.size();
    std::string fixed = fix_encoding_once(text, work);
    if (fixed == text) break;
    text = std::move(fixed);
  }
  return text;
}

}  // namespace gondola
