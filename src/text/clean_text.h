#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// What CLIP does to a text before it looks at words (OpenAI clip/simple_tokenizer.py: basic_clean, whitespace_clean,
/// lower): invalid UTF-8 replaced, ftfy's repairs, HTML unescaped twice, whitespace collapsed, lower case as Python's.
std::string clean_text(std::string_view text);

/// The words of a cleaned text: special tokens, contractions, runs of letters, single digits, runs of other signs. They
/// point into `text`.
std::vector<std::string_view> split_words(std::string_view text);

}  // namespace gondola
