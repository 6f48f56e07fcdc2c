#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// Cleans a text as CLIP does before it looks at words (OpenAI clip/simple_tokenizer.py: basic_clean, whitespace_clean,
/// lower): invalid UTF-8 replaced, ftfy's repairs, HTML unescaped twice, whitespace collapsed, lower case as in Python.
std::string clean_text(std::string_view text);

/// Splits a cleaned text into words: special tokens, contractions, runs of letters, single digits, runs of other
/// characters. The words are views into `text`.
std::vector<std::string_view> split_words(std::string_view text);

}  // namespace gondola
