#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gondola {

/// A compiled PCRE2 pattern. Thread-safe.
class Regex {
 public:
  enum class Mode {
    utf8,   ///< on code points, with Unicode's properties
    bytes,  ///< on bytes of any kind
  };

  /// Blanks in the pattern do not count unless they are in a class or escaped. Throws Error for a malformed pattern.
  explicit Regex(const std::string& pattern, Mode mode, bool ignore_case = false);

  /// The first match at or after byte `from`, as a part of `text`.
  std::optional<std::string_view> find(std::string_view text, std::size_t from = 0) const;

  /// The text with every match replaced by what `replacement` makes of it. The pattern must not match an empty text.
  std::string replace(std::string_view text,
                      const std::function<std::string(std::string_view match)>& replacement) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace gondola
