#pragma once

#include <string>
#include <string_view>

namespace gondola {

/// Replaces everything that is not well-formed UTF-8 with U+FFFD, one for each maximal part of a sequence, like
/// Python's bytes.decode("utf-8", errors="replace").
std::string replace_invalid_utf8(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);
bool is_ascii(std::string_view bytes);

/// Replaces each control character (U+0000 to U+001F, U+007F to U+009F) of well-formed UTF-8 with escape(code).
std::string escape_controls(std::string_view utf8, std::string (*escape)(unsigned code));

/// The code point at `at` of well-formed UTF-8; advances `at` past it.
char32_t next_code_point(std::string_view utf8, std::size_t& at);

/// The first `count` code points of well-formed UTF-8, or all if there are fewer. Each takes one column of a terminal,
/// except for wide and combining characters.
std::string first_code_points(std::string_view utf8, std::size_t count);

void append_utf8(std::string& utf8, char32_t code_point);

}  // namespace gondola
