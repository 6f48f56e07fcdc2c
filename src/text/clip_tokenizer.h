#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// What to do with a text that does not fit the context.
enum class Overflow { error, truncate };

/// CLIP's byte-level BPE tokenizer: ftfy's repairs, HTML unescaping twice, whitespace, lower case, byte-pair merges
/// (OpenAI clip/simple_tokenizer.py). Thread-safe once built.
class ClipTokenizer {
 public:
  /// Reads a vocabulary: a folder with tokenizer.json or with vocab.json + merges.txt, or one of the files
  /// tokenizer.json, vocab.json (merges.txt beside it) and bpe_simple_vocab_16e6.txt.gz. Throws Error.
  static ClipTokenizer load(const std::filesystem::path& path);

  /// From merges in rank order ("t h", "th e</w>", …): 256 bytes, the same with </w>, one token a merge, then
  /// <|startoftext|> and <|endoftext|>, the largest id.
  static ClipTokenizer from_merges(const std::vector<std::string>& merges);

  ~ClipTokenizer();
  ClipTokenizer(ClipTokenizer&&) noexcept;
  ClipTokenizer& operator=(ClipTokenizer&&) noexcept;

  /// The ids of a text, without start and end. Invalid UTF-8 is replaced by U+FFFD first, as Python's
  /// errors="replace" does. Throws Error for a text with a token that was added to the vocabulary, other than start and
  /// end: those are not supported.
  std::vector<std::int32_t> encode(std::string_view text) const;

  struct Encoded {
    std::vector<std::int32_t> ids;  ///< start, text, end; at most context_length
    bool truncated = false;
  };
  /// With start and end. A text longer than the context is an Error, or is cut and keeps its end token.
  Encoded encode(std::string_view text, int context_length, Overflow overflow) const;

  /// context_length ids, `pad` after the end token.
  std::vector<std::int32_t> encode_padded(std::string_view text, int context_length, std::int32_t pad,
                                          Overflow overflow) const;

  /// The token's text as it stands in the vocabulary ("dog</w>", "<|endoftext|>").
  const std::string& token(std::int32_t id) const;
  int size() const;
  std::int32_t start_id() const;
  std::int32_t end_id() const;

  /// Writes vocab.json, merges.txt and, where there are any, added_tokens.json (Hugging Face's layout), which load()
  /// reads back.
  void save(const std::filesystem::path& folder) const;

 private:
  struct Tables;
  explicit ClipTokenizer(std::unique_ptr<const Tables> tables);
  std::unique_ptr<const Tables> tables_;
};

}  // namespace gondola
