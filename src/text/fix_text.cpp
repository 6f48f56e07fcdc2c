#include "text/fix_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/fix_encoding.h"
#include "text/html_entities.h"

namespace gondola {
namespace {

/// Normalises like utf8proc_map, which takes quadratic time to sort the marks of a letter.
std::string normalise(std::string_view text, utf8proc_option_t form) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form);
  const auto checked = [](utf8proc_ssize_t length) {
    if (length < 0) fail("text cannot be normalised: {}", utf8proc_errmsg(length));
    return length;
  };
  std::vector<utf8proc_int32_t> code_points;
  for (std::size_t at = 0; at < text.size();) {
    std::array<utf8proc_int32_t, 18> parts;  // the length of Unicode's longest decomposition
    int unused = 0;
    const auto count = checked(utf8proc_decompose_char(static_cast<utf8proc_int32_t>(next_code_point(text, at)),
                                                       parts.data(), parts.size(), options, &unused));
    code_points.insert(code_points.end(), parts.begin(), parts.begin() + count);
  }
  const auto combining_class = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto mark = code_points.begin(); mark != code_points.end();) {
    const auto end = std::find_if_not(mark, code_points.end(), combining_class);
    std::ranges::stable_sort(mark, end, {}, combining_class);
    mark = std::find_if(end, code_points.end(), combining_class);
  }
  code_points.push_back(0);  // room for the terminating zero of the result
  const auto length =
      checked(utf8proc_reencode(code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size() - 1), options));
  return {reinterpret_cast<const char*>(code_points.data()), static_cast<std::size_t>(length)};
}

/// Ligatures and digraphs of Latin letters (ftfy/chardata.py, LIGATURES).
constexpr std::pair<char32_t, const char*> ligatures[] = {
    {0x132, "IJ"},      {0x133, "ij"},      {0x149, "'n"},       {0x1f1, "DZ"},  {0x1f2, "Dz"},  {0x1f3, "dz"},
    {0x1c4, "D\u017d"}, {0x1c5, "D\u017e"}, {0x1c6, "d\u017e"},  {0x1c7, "LJ"},  {0x1c8, "Lj"},  {0x1c9, "lj"},
    {0x1ca, "NJ"},      {0x1cb, "Nj"},      {0x1cc, "nj"},       {0xfb00, "ff"}, {0xfb01, "fi"}, {0xfb02, "fl"},
    {0xfb03, "ffi"},    {0xfb04, "ffl"},    {0xfb05, "\u017ft"}, {0xfb06, "st"}};

bool is_removed_control(char32_t c) {
  return c < 0x09 || c == 0x0b || (c >= 0x0e && c < 0x20) || c == 0x7f || (c >= 0x206a && c < 0x2070) || c == 0xfeff ||
         (c >= 0xfff9 && c < 0xfffd);
}

/// Half-width and full-width forms.
bool is_halfwidth_or_fullwidth(char32_t c) {
  return c == 0x3000 || (c >= 0xff01 && c < 0xfff0);
}

std::string to_normal_width(char32_t c) {
  std::string text;
  append_utf8(text, c);
  return c == 0x3000 ? " " : normalise(text, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
}

/// Repairs one code point at a time: ligatures, widths, quotes.
std::string fix_characters(std::string_view text) {
  std::string fixed;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const char32_t c = next_code_point(text, at);
    const auto ligature =
        std::find_if(std::begin(ligatures), std::end(ligatures), [&](const auto& pair) { return pair.first == c; });
    if (c < 0x80) {
      fixed += static_cast<char>(c);
    } else if (ligature != std::end(ligatures)) {
      fixed += ligature->second;
    } else if (is_halfwidth_or_fullwidth(c)) {
      fixed += to_normal_width(c);
    } else if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) {
      fixed += '\'';
    } else if (c >= 0x201c && c <= 0x201f) {
      fixed += '"';
    } else {
      fixed += text.substr(start, at - start);
    }
  }
  return fixed;
}

std::string fix_line_breaks(std::string_view text) {
  std::string fixed;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const char32_t c = next_code_point(text, at);
    if (c == '\r') {
      if (text.substr(at).starts_with('\n')) ++at;
      fixed += '\n';
    } else if (c == 0x2028 || c == 0x2029 || c == 0x85) {
      fixed += '\n';
    } else {
      fixed += text.substr(start, at - start);
    }
  }
  return fixed;
}

/// Removes sequences like "\x1b[36;44m".
std::string remove_terminal_escapes(std::string_view text) {
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with("\x1b[")) {
      std::size_t end = at + 2;
      while (end < text.size()) {
        std::size_t next = end;
        const char32_t c = next_code_point(text, next);
        if (c != ';' && utf8proc_category(static_cast<utf8proc_int32_t>(c)) != UTF8PROC_CATEGORY_ND) break;
        end = next;
      }
      const char final = end < text.size() ? static_cast<char>(text[end] | 0x20) : '\0';
      if (final >= 'a' && final <= 'z') {
        at = end + 1;
        continue;
      }
    }
    kept += text[at++];
  }
  return kept;
}

std::string remove_controls(std::string_view text) {
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    if (!is_removed_control(next_code_point(text, at))) kept += text.substr(start, at - start);
  }
  return kept;
}

/// Applies all repairs until none changes anything, or `work` is used up.
std::string fix_segment(std::string_view segment, bool unescape_html, std::size_t& work) {
  std::string text(segment);
  while (work >= text.size()) {
    work -= text.size();
    const std::string before = text;
    if (unescape_html) text = unescape_complete_references(text);
    if (!is_ascii(text)) text = fix_characters(fix_c1_controls(fix_encoding(text, work)));
    text = remove_controls(remove_terminal_escapes(fix_line_breaks(text)));
    if (!is_ascii(text)) text = normalise(text, UTF8PROC_COMPOSE);  // NFC
    if (text == before) break;
  }
  return text;
}

/// The end of a segment: just after the next line break, or after a million code points (ftfy's max_decode_length).
std::size_t segment_end(std::string_view text, std::size_t start) {
  constexpr int longest = 1'000'000;
  std::size_t at = start;
  for (int count = 0; at < text.size() && count < longest; ++count)
    if (next_code_point(text, at) == '\n') break;
  return at;
}

}  // namespace

std::string fix_text(std::string_view utf8) {
  std::string fixed;
  std::size_t work = (256 << 10) + 16 * utf8.size();  // bytes; three layers of damage take six times the text
  bool unescape_html = true;                          // until something looks like a tag
  for (std::size_t at = 0; at < utf8.size();) {
    const std::size_t end = segment_end(utf8, at);
    const std::string_view segment = utf8.substr(at, end - at);
    if (segment.find('<') != std::string_view::npos) unescape_html = false;
    fixed += fix_segment(segment, unescape_html, work);
    at = end;
  }
  return fixed;
}

}  // namespace gondola
