#pragma once

#include <string>
#include <string_view>

namespace gondola {

/// Python's html.unescape: HTML 5's character references, also without their ';' where HTML 5 tolerates that.
std::string html_unescape(std::string_view utf8);

/// ftfy's unescape_html (ftfy/fixes.py): only complete references, with their ';', but also names in capitals.
std::string unescape_complete_references(std::string_view utf8);

}  // namespace gondola
