#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace gondola {

struct Vocabulary {
  std::unordered_map<std::string, std::int32_t> ids;
  std::vector<std::string> merges;  ///< "left right", in rank order
  /// Tokens that were added later ("<cat-toy>"): transformers finds these in a text before it splits words.
  std::map<std::string, std::int32_t> added;
  std::string origin;  ///< for messages
};

/// Reads a vocabulary in any of the forms that ClipTokenizer::load takes. Throws Error.
Vocabulary read_vocabulary(const std::filesystem::path& path);

/// Numbers the tokens as OpenAI does: the bytes, the bytes that end a word, one token per merge, start, end.
Vocabulary vocabulary_from_merges(std::vector<std::string> merges, std::string origin);

}  // namespace gondola
