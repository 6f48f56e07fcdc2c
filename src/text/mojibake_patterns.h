#pragma once

namespace gondola {

/// Matches character sequences that hardly occur except in text decoded in a wrong encoding (ftfy/badness.py,
/// BADNESS_RE). For Regex in UTF mode.
extern const char* const badness_pattern;

/// Matches runs of characters that may be UTF-8 bytes decoded in a single-byte encoding (ftfy/chardata.py,
/// UTF8_DETECTOR_RE).
extern const char* const utf8_detector_pattern;

}  // namespace gondola
