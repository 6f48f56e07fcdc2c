#pragma once

#include <gondola/error.h>
#include <gondola/export.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

class ClipTokenizer;

/// CLIP's byte-level BPE tokenizer. Copies share one vocabulary; thread-safe.
class GONDOLA_API Tokenizer {
 public:
  /// Reads a vocabulary: a folder with tokenizer.json or with vocab.json and merges.txt, either .json itself, or
  /// OpenAI's bpe_simple_vocab_16e6.txt.gz. Throws Error.
  static Tokenizer load(const std::filesystem::path& path);

  /// The ids of a text (UTF-8), without start and end tokens of its own; "<|startoftext|>" and "<|endoftext|>" in it
  /// count as those. Throws Error for a text with another of the vocabulary's added tokens.
  std::vector<std::int32_t> encode(std::string_view text) const;

  /// With start and end tokens. Throws Error for a text of more than `context_length` ids, unless `truncate`: then it
  /// is cut and keeps its end token; for a `context_length` below 2; and as the above.
  std::vector<std::int32_t> encode(std::string_view text, int context_length, bool truncate = false) const;

  /// A token as it stands in the vocabulary ("dog</w>"); empty for an id that it leaves out. Throws Error for one that
  /// is not below size().
  std::string token(std::int32_t id) const;

  int size() const;
  std::int32_t start_id() const;
  std::int32_t end_id() const;

 private:
  friend class Model;
  explicit Tokenizer(std::shared_ptr<const ClipTokenizer> tokenizer);
  std::shared_ptr<const ClipTokenizer> tokenizer_;
};

}  // namespace gondola
