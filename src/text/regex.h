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
    utf8,   ///< matches code points, with Unicode's properties
    bytes,  ///< matches arbitrary bytes
  };

  /// Whitespace in the pattern is ignored unless it is escaped or in a class. Throws Error for a malformed pattern.
  explicit Regex(const std::string& pattern, Mode mode);

  /// The first match at or after byte `from`, as a view into `text`.
  std::optional<std::string_view> find(std::string_view text, std::size_t from = 0) const;

  /// The text with every match replaced by replacement(match). The pattern must not match the empty string.
  std::string replace(std::string_view text,
                      const std::function<std::string(std::string_view match)>& replacement) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace gondola
