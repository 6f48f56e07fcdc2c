#pragma once

namespace gondola {

/// Finds sequences of characters that hardly occur but where text was decoded in a wrong encoding (ftfy/badness.py,
/// BADNESS_RE). For Regex in UTF mode.
extern const char* const badness_pattern;

/// Finds runs of characters that the bytes of UTF-8 look like in single-byte encodings (ftfy/chardata.py,
/// UTF8_DETECTOR_RE).
extern const char* const utf8_detector_pattern;

}  // namespace gondola
