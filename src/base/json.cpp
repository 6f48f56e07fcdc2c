#include "base/json.h"

#include <set>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace gondola {

Json parse_json(std::string_view text, const std::string& origin) {
  // The library would stop at a NUL and ignore what follows.
  if (text.find('\0') != text.npos) fail("{}: not valid JSON: a NUL at byte {}", origin, text.find('\0'));
  constexpr int max_depth = 64;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > max_depth) fail("{}: JSON nested deeper than {} levels", origin, max_depth);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      fail("{}: JSON key \"{}\" appears twice in one object", origin, parsed.get<std::string>());
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::exception& error) {
    fail("{}: not valid JSON: {}", origin, error.what());
  }
}

std::string to_json_line(const nlohmann::ordered_json& value) {
  return escape_controls(value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace),
                         [](unsigned code) { return fmt::format("\\u{:04x}", code); });
}

}  // namespace gondola
