#include "text/clean_text.h"

#include <utf8proc.h>

#include "base/utf8.h"
#include "text/fix_text.h"
#include "text/html_entities.h"
#include "text/regex.h"

namespace gondola {
namespace {

/// Unicode's White_Space, which `\s` matches in Python's regex.
bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/// Strips both ends and makes each gap one space. Python's str.strip also strips U+001C to U+001F, which fix_text
/// removes.
std::string collapse_white_space(std::string_view text) {
  std::string collapsed;
  bool gap = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (is_white_space(next_code_point(text, at))) {
      gap = true;
      continue;
    }
    if (gap && !collapsed.empty()) collapsed += ' ';
    gap = false;
    collapsed += text.substr(start, at - start);
  }
  return collapsed;
}

bool is_cased(char32_t c) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT ||
         utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0 ||
         utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0;
}

/// Unicode's Case_Ignorable: marks, modifiers, format characters and the Word_Break classes MidLetter, MidNumLet and
/// Single_Quote.
bool is_case_ignorable(char32_t c) {
  for (char32_t middle : {U'\'', U'.', U':', U'\u00b7', U'\u0387', U'\u055f', U'\u05f4', U'\u2018', U'\u2019',
                          U'\u2024', U'\u2027', U'\ufe13', U'\ufe52', U'\ufe55', U'\uff07', U'\uff0e', U'\uff1a'})
    if (c == middle) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return false;
  }
}

/// Unicode's Final_Sigma condition: a cased letter before and none after, skipping case-ignorable characters.
bool is_final_sigma(const std::u32string& text, std::size_t at) {
  std::size_t before = at;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  std::size_t after = at + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

/// Python's str.lower: the full mapping, which differs from the simple one for two letters.
std::string lower(std::string_view text) {
  std::u32string code_points;
  for (std::size_t at = 0; at < text.size();) code_points += next_code_point(text, at);
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < code_points.size(); ++i) {
    const char32_t c = code_points[i];
    if (c == U'\u0130') {  // capital I with dot above
      result += "i\u0307";
    } else if (c == U'\u03a3') {
      append_utf8(result, is_final_sigma(code_points, i) ? U'\u03c2' : U'\u03c3');
    } else {
      append_utf8(result, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return result;
}

/// OpenAI's pattern, with `\s` spelled out, since PCRE2's would include U+180E. U+0345 is a mark whose other case is a
/// letter: in Python's regex, which ignores case, none of the alternatives matches it.
const Regex& word_pattern() {
  static const Regex pattern(
      R"((?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|)"
      R"([^\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{345}\p{L}\p{N}]+)",
      Regex::Mode::utf8);
  return pattern;
}

}  // namespace

std::string clean_text(std::string_view text) {
  const std::string fixed = fix_text(replace_invalid_utf8(text));
  const std::string unescaped = html_unescape(html_unescape(fixed));
  return lower(collapse_white_space(unescaped));
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while (const auto word = word_pattern().find(text, at)) {
    words.push_back(*word);
    at = static_cast<std::size_t>(word->data() - text.data()) + word->size();
  }
  return words;
}

}  // namespace gondola
