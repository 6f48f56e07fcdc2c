#pragma once

#include <string>
#include <string_view>

namespace gondola {

/// ftfy.fix_text with its default settings (ftfy 6.3.1): HTML references, wrong encodings, Latin ligatures, full-width
/// forms, curly quotes, line breaks, terminal escapes, control characters, NFC; line by line. ftfy repeats the repairs
/// until nothing changes, which takes quadratic time for "é&amp;amp;amp;…"; here they process at most 16 times the size
/// of the text plus 256 KiB, and any damage left then stays.
std::string fix_text(std::string_view utf8);

}  // namespace gondola
