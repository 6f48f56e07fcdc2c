#include <gondola/tokenizer.h>

#include <utility>

#include "api/rethrow_filesystem_errors.h"
#include "base/error.h"
#include "text/clip_tokenizer.h"

namespace gondola {

Tokenizer::Tokenizer(std::shared_ptr<const ClipTokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  return rethrow_filesystem_errors(
      [&] { return Tokenizer(std::make_shared<ClipTokenizer>(ClipTokenizer::load(path))); });
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  return tokenizer_->encode(text);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, int context_length, bool truncate) const {
  if (context_length < 2)
    fail("context length {}: expected 2 or more, for the start and the end token", context_length);
  return tokenizer_->encode(text, context_length, truncate ? Overflow::truncate : Overflow::error).ids;
}

std::string Tokenizer::token(std::int32_t id) const {
  return tokenizer_->token(id);
}

int Tokenizer::size() const {
  return tokenizer_->size();
}

std::int32_t Tokenizer::start_id() const {
  return tokenizer_->start_id();
}

std::int32_t Tokenizer::end_id() const {
  return tokenizer_->end_id();
}

}  // namespace gondola
