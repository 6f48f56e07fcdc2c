#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// ClipTokenizer::hash_of_tokens of OpenAI's vocabulary, which most models share.
inline constexpr std::uint64_t openai_hash_of_tokens = 0x6c882f97e43a4257;

/// What to do with a text that does not fit the context.
enum class Overflow { error, truncate };

/// CLIP's byte-level BPE tokenizer: ftfy's repairs, HTML unescaping twice, whitespace, lower case, byte-pair merges
/// (OpenAI clip/simple_tokenizer.py). Thread-safe once built.
class ClipTokenizer {
 public:
  /// Reads a vocabulary: a folder with tokenizer.json or with vocab.json + merges.txt, or one of the files
  /// tokenizer.json, vocab.json (merges.txt beside it) and bpe_simple_vocab_16e6.txt.gz. Throws Error.
  static ClipTokenizer load(const std::filesystem::path& path);

  /// Builds a vocabulary from merges in rank order ("t h", "th e</w>", …): 256 bytes, the same with </w>, one token per
  /// merge, then <|startoftext|> and <|endoftext|>, which has the largest id.
  static ClipTokenizer from_merges(const std::vector<std::string>& merges);

  ~ClipTokenizer();
  ClipTokenizer(ClipTokenizer&&) noexcept;
  ClipTokenizer& operator=(ClipTokenizer&&) noexcept;

  /// The ids of a text, without start and end. Invalid UTF-8 is first replaced by U+FFFD, as by Python's
  /// errors="replace". Throws Error if the text contains a token that was added to the vocabulary, other than start and
  /// end: those are not supported.
  std::vector<std::int32_t> encode(std::string_view text) const;

  struct Encoded {
    std::vector<std::int32_t> ids;  ///< start, text, end; at most context_length
    bool truncated = false;
  };
  /// The ids with start and end. A text that does not fit the context is an Error, or is cut and keeps its end token.
  Encoded encode(std::string_view text, int context_length, Overflow overflow) const;

  /// The same, filled up with `pad` to context_length ids.
  std::vector<std::int32_t> encode_padded(std::string_view text, int context_length, std::int32_t pad,
                                          Overflow overflow) const;

  /// The token's text as written in the vocabulary ("dog</w>", "<|endoftext|>").
  const std::string& token(std::int32_t id) const;
  int size() const;
  std::int32_t start_id() const;
  std::int32_t end_id() const;
  /// A hash of all tokens in the order of their ids.
  std::uint64_t hash_of_tokens() const;

  /// Writes vocab.json, merges.txt and, if there are added tokens, added_tokens.json (Hugging Face's layout), which
  /// load() reads back.
  void save(const std::filesystem::path& folder) const;

 private:
  struct Tables;
  explicit ClipTokenizer(std::unique_ptr<const Tables> tables);
  std::unique_ptr<const Tables> tables_;
};

}  // namespace gondola
