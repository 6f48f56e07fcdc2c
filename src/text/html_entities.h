#pragma once

#include <string>
#include <string_view>

namespace gondola {

/// Python's html.unescape: the character references of HTML 5, named ones also where their ';' is missing.
std::string html_unescape(std::string_view utf8);

/// ftfy's unescape_html (ftfy/fixes.py): only whole references with their ';', also names that were put in capitals.
std::string unescape_whole_references(std::string_view utf8);

}  // namespace gondola
