#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace gondola {

struct Regex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(const std::string& pattern, Mode mode) {
  std::uint32_t options = PCRE2_EXTENDED;
  if (mode == Mode::utf8) options |= PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK;
  int error = 0;
  PCRE2_SIZE where = 0;
  auto code = std::make_shared<Code>();
  code->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &where, nullptr);
  if (code->code == nullptr) fail("a pattern does not compile at {}: PCRE2 error {}", where, error);
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // without JIT support the pattern is interpreted
  code_ = std::move(code);
}

std::optional<std::string_view> Regex::find(std::string_view text, std::size_t from) const {
  struct FreeMatch {
    void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
  };
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create(1, nullptr));
  const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, match.get(), nullptr);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) fail("a pattern cannot be matched: PCRE2 error {}", found);
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match.get());
  return text.substr(range[0], range[1] - range[0]);
}

std::string Regex::replace(std::string_view text,
                           const std::function<std::string(std::string_view match)>& replacement) const {
  std::string result;
  std::size_t at = 0;
  while (const auto match = find(text, at)) {
    const auto start = static_cast<std::size_t>(match->data() - text.data());
    result += text.substr(at, start - at);
    result += replacement(*match);
    at = start + match->size();
  }
  result += text.substr(at);
  return result;
}

}  // namespace gondola
