#include <glob.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "data/download.h"
#include "data/sources.h"

namespace gondola {
namespace {

constexpr std::size_t max_expansions = 1'000'000;

/// The matching "}" of the "{" at `open`; npos when there is none.
std::size_t closing_brace(std::string_view pattern, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < pattern.size(); ++i) {
    depth += pattern[i] == '{';
    depth -= pattern[i] == '}';
    if (depth == 0) return i;
  }
  return std::string_view::npos;
}

/// Splits "a,{b,c}" at its outer commas.
std::vector<std::string> split_alternatives(std::string_view body) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (char c : body) {
    depth += c == '{';
    depth -= c == '}';
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// Expands "08..12" to "08", "09" … "12". If either number has leading zeros, all are padded to the longer one's
/// width, as in bash and braceexpand. Returns nothing if the body is not a range.
std::optional<std::vector<std::string>> expand_range(std::string_view body, const std::string& pattern) {
  const std::size_t dots = body.find("..");
  if (dots == std::string_view::npos) return std::nullopt;
  const std::string_view low_digits = body.substr(0, dots), high_digits = body.substr(dots + 2);
  const auto low = parse_number(low_digits), high = parse_number(high_digits);
  if (!low || !high) return std::nullopt;
  if (*high < *low) fail("{}: the range {{{}}} runs backwards", pattern, body);
  if (*high - *low >= max_expansions) fail("{}: more than {} files", pattern, max_expansions);
  const auto is_padded = [](std::string_view digits) { return digits.size() > 1 && digits.starts_with('0'); };
  const std::size_t width =
      is_padded(low_digits) || is_padded(high_digits) ? std::max(low_digits.size(), high_digits.size()) : 0;
  std::vector<std::string> numbers;
  for (std::uint64_t i = 0; i <= *high - *low; ++i) numbers.push_back(fmt::format("{:0{}}", *low + i, width));
  return numbers;
}

/// Appends what `rest` expands to, each result after `prefix`.
void expand_braces(const std::string& prefix, std::string_view rest, const std::string& pattern,
                   std::vector<std::string>& expanded) {
  const std::size_t open = rest.find('{');
  const std::size_t close = open == std::string_view::npos ? open : closing_brace(rest, open);
  if (close == std::string_view::npos) {
    if (expanded.size() == max_expansions) fail("{}: more than {} files", pattern, max_expansions);
    expanded.push_back(prefix + std::string(rest));
    return;
  }
  const std::string_view body = rest.substr(open + 1, close - open - 1);
  const auto numbers = expand_range(body, pattern);
  const std::string start = prefix + std::string(rest.substr(0, open)), end(rest.substr(close + 1));
  for (const std::string& part : numbers ? *numbers : split_alternatives(body))
    expand_braces(start, part + end, pattern, expanded);
}

void append_matches(const std::string& name, std::vector<std::filesystem::path>& paths) {
  if (path_exists(name)) {  // a name may hold brackets
    paths.emplace_back(name);
    return;
  }
  if (name.find_first_of("*?[") == std::string::npos) fail("{}: does not exist", name);
  glob_t matches{};
  const int result = ::glob(name.c_str(), 0, nullptr, &matches);
  for (std::size_t i = 0; result == 0 && i < matches.gl_pathc; ++i) paths.emplace_back(matches.gl_pathv[i]);
  ::globfree(&matches);
  if (result != 0) fail("{}: matches no file", name);
}

}  // namespace

std::vector<std::filesystem::path> expand_pattern(const std::string& pattern) {
  if (path_exists(pattern)) return {pattern};  // a name may hold braces and brackets
  std::vector<std::string> names;
  expand_braces("", pattern, pattern, names);
  std::vector<std::filesystem::path> paths;
  for (const std::string& name : names) append_matches(name, paths);
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> expand_urls(const std::string& pattern) {
  std::vector<std::string> urls;
  expand_braces("", pattern, redact_url(pattern), urls);
  for (const std::string& url : urls) {
    const std::string name = redact_url(url);
    if (name.find('*') != std::string::npos)
      fail("{}: a server's files cannot be listed by *; use a range such as {{000..127}}", name);
    if (!lower_ascii(name).ends_with(".tar")) fail("{}: expected the URL of a .tar file", name);
  }
  return urls;
}

}  // namespace gondola
