#include "base/utf8.h"

#include <algorithm>

namespace gondola {
namespace {

/// Bytes of the well-formed sequence at the start of `bytes`, or 0 if there is none; `prefix` becomes the length of the
/// longest prefix of `bytes` that can begin a sequence (Unicode 14, table 3-7), at least 1.
std::size_t sequence_length(std::string_view bytes, std::size_t& prefix) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = byte(0);
  prefix = 1;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  unsigned char low = 0x80, high = 0xbf;  // of the second byte: neither overlong, nor a surrogate, nor past U+10FFFF
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  while (prefix < length) {
    if (prefix == bytes.size() || byte(prefix) < low || byte(prefix) > high) return 0;
    low = 0x80, high = 0xbf;
    ++prefix;
  }
  return length;
}

}  // namespace

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    std::size_t prefix = 0;
    if (sequence_length(bytes, prefix) != 0) {
      text += bytes.substr(0, prefix);
    } else {
      text += "\xef\xbf\xbd";
    }
    bytes.remove_prefix(prefix);
  }
  return text;
}

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    std::size_t prefix = 0;
    if (sequence_length(bytes, prefix) == 0) return false;
    bytes.remove_prefix(prefix);
  }
  return true;
}

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string escape_controls(std::string_view utf8, std::string (*escape)(unsigned code)) {
  std::string text;
  text.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t start = at;
    const char32_t code_point = next_code_point(utf8, at);
    if (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) {
      text += escape(code_point);
    } else {
      text += utf8.substr(start, at - start);
    }
  }
  return text;
}

char32_t next_code_point(std::string_view utf8, std::size_t& at) {
  const auto first = static_cast<unsigned char>(utf8[at++]);
  if (first < 0x80) return first;
  const int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  char32_t code_point = first & (0x3f >> more);
  for (int i = 0; i < more; ++i) code_point = code_point << 6 | (static_cast<unsigned char>(utf8[at++]) & 0x3f);
  return code_point;
}

std::string first_code_points(std::string_view utf8, std::size_t count) {
  std::size_t at = 0;
  for (; count > 0 && at < utf8.size(); --count) next_code_point(utf8, at);
  return std::string(utf8.substr(0, at));
}

void append_utf8(std::string& utf8, char32_t code_point) {
  const auto tail = [&](int shift) { utf8 += static_cast<char>(0x80 | (code_point >> shift & 0x3f)); };
  if (code_point < 0x80) {
    utf8 += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    utf8 += static_cast<char>(0xc0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    utf8 += static_cast<char>(0xe0 | code_point >> 12);
    tail(6), tail(0);
  } else {
    utf8 += static_cast<char>(0xf0 | code_point >> 18);
    tail(12), tail(6), tail(0);
  }
}

}  // namespace gondola
