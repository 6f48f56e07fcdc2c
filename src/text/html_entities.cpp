#include "text/html_entities.h"

#include <algorithm>
#include <optional>
#include <span>

#include "base/utf8.h"
#include "text/html_entities_table.h"
#include "text/single_byte_encodings.h"

namespace gondola {
namespace {

/// The text of a name in a table that is sorted by name.
std::optional<std::string_view> find_entity(std::span<const HtmlEntity> table, std::string_view name) {
  const auto found = std::ranges::lower_bound(table, name, {}, &HtmlEntity::name);
  if (found == table.end() || found->name != name) return std::nullopt;
  return found->text;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

constexpr char32_t last_code_point = 0x10ffff;

/// The text that a numeric reference stands for (HTML 5, "numeric character reference end state", as Python implements
/// it): empty for controls and non-characters.
std::string numbered(char32_t number) {
  std::string text;
  const bool surrogate = number >= 0xd800 && number <= 0xdfff;
  if (number == 0 || surrogate || number > last_code_point) {
    append_utf8(text, U'\ufffd');
  } else if (number >= 0x80 && number <= 0x9f) {  // meant as Windows-1252
    append_utf8(text, windows_1252().decode(static_cast<unsigned char>(number)));
  } else {
    const bool control = number < 0x20 && number != '\t' && number != '\n' && number != '\f' && number != '\r';
    const bool noncharacter = (number & 0xfffe) == 0xfffe || (number >= 0xfdd0 && number <= 0xfdef);
    if (!control && !noncharacter && number != 0x7f) append_utf8(text, number);
  }
  return text;
}

/// Decodes a reference like "#228;" or "#xe4" at the start of `text` and stores its length in `length`.
std::optional<std::string> numeric_reference(std::string_view text, std::size_t& length) {
  if (!text.starts_with('#')) return std::nullopt;
  const bool hexadecimal = text.size() > 1 && (text[1] == 'x' || text[1] == 'X');
  const std::size_t start = hexadecimal ? 2 : 1;
  std::size_t end = start;
  char32_t number = 0;
  for (; end < text.size() && (hexadecimal ? is_hex_digit(text[end]) : is_digit(text[end])); ++end) {
    const char c = text[end];
    const int digit = is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
    number = std::min<char32_t>(number * (hexadecimal ? 16 : 10) + static_cast<char32_t>(digit), last_code_point + 1);
  }
  if (end == start) return std::nullopt;
  length = end < text.size() && text[end] == ';' ? end + 1 : end;
  return numbered(number);
}

/// Decodes a name like "eacute;" or "eacute", or the longest name that starts a longer word, as Python does.
std::string named_reference(std::string_view text, std::size_t& length) {
  constexpr int longest = 32;  // code points
  std::size_t end = 0;
  for (int count = 0; end < text.size() && count < longest; ++count) {
    constexpr std::string_view stops = "\t\n\f <&#;";
    if (stops.find(text[end]) != std::string_view::npos) break;
    next_code_point(text, end);
  }
  if (end == 0) {
    length = 0;
    return "&";
  }
  if (end < text.size() && text[end] == ';') ++end;
  length = end;
  const std::string_view word = text.substr(0, end);
  if (const auto found = find_entity(html5_entities, word)) return std::string(*found);
  for (std::size_t part = word.size() - 1; part > 1; --part)
    if (const auto found = find_entity(html5_entities, word.substr(0, part)))
      return std::string(*found) + std::string(word.substr(part));
  std::string unknown = "&";
  return unknown += word;
}

}  // namespace

std::string html_unescape(std::string_view utf8) {
  std::string result;
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t ampersand = std::min(utf8.find('&', at), utf8.size());
    result += utf8.substr(at, ampersand - at);
    if (ampersand == utf8.size()) break;
    const std::string_view rest = utf8.substr(ampersand + 1);
    std::size_t length = 0;
    const auto number = numeric_reference(rest, length);
    result += number ? *number : named_reference(rest, length);
    at = ampersand + 1 + length;
  }
  return result;
}

std::string unescape_complete_references(std::string_view utf8) {
  constexpr std::size_t longest = 24;
  const auto is_alphanumeric = [](char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); };
  std::string result;
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t ampersand = std::min(utf8.find('&', at), utf8.size());
    result += utf8.substr(at, ampersand - at);
    if (ampersand == utf8.size()) break;
    const std::size_t start = ampersand + 1 + (utf8.substr(ampersand + 1).starts_with('#') ? 1 : 0);
    std::size_t end = start;
    while (end < utf8.size() && end - start < longest && is_alphanumeric(utf8[end])) ++end;
    at = ampersand + 1;
    if (end == start || end == utf8.size() || utf8[end] != ';') {
      result += '&';
      continue;
    }
    const std::string_view reference = utf8.substr(ampersand, end + 1 - ampersand);
    at = end + 1;
    auto found = find_entity(upper_cased_entities, reference.substr(1));
    if (!found) found = find_entity(html5_entities, reference.substr(1));
    if (found) {
      result += *found;
    } else if (reference[1] == '#') {
      const std::string unescaped = html_unescape(reference);
      result += unescaped.find(';') == std::string::npos ? unescaped : std::string(reference);
    } else {
      result += reference;
    }
  }
  return result;
}

}  // namespace gondola
