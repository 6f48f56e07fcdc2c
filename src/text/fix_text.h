#pragma once

#include <string>
#include <string_view>

namespace gondola {

/// ftfy.fix_text with its default settings (ftfy 6.3.1): HTML references, wrong encodings, Latin ligatures, full-width
/// forms, curly quotes, line breaks, terminal escapes, control characters, NFC; line by line.
std::string fix_text(std::string_view utf8);

}  // namespace gondola
