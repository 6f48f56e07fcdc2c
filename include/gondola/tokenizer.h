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
  /// Loads a vocabulary: a folder with tokenizer.json or with vocab.json and merges.txt, one of these two .json files,
  /// or OpenAI's bpe_simple_vocab_16e6.txt.gz. Throws Error if it cannot be loaded.
  static Tokenizer load(const std::filesystem::path& path);

  /// The token ids of a text (UTF-8). No start and end tokens are added, but "<|startoftext|>" and "<|endoftext|>" in
  /// the text are encoded as those tokens. Throws Error if the text contains another of the vocabulary's added tokens.
  std::vector<std::int32_t> encode(std::string_view text) const;

  /// The same with start and end tokens. Throws Error if that makes more than `context_length` ids, unless `truncate`
  /// is true: then they are cut to that length, and the last is still the end token. Also throws Error if
  /// `context_length` is below 2, and as the above does.
  std::vector<std::int32_t> encode(std::string_view text, int context_length, bool truncate = false) const;

  /// A token as the vocabulary has it ("dog</w>"); empty for an id that the vocabulary skips. Throws Error if the id is
  /// negative or not below size().
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
