#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace gondola {

using Json = nlohmann::json;

/// Parses untrusted JSON: at most 64 levels deep, without duplicate keys. Throws Error with a message that starts with
/// `origin` (a file name, say).
Json parse_json(std::string_view text, const std::string& origin);

/// One line of JSON for stdout. Bytes that are not UTF-8 (a file name may hold any) become U+FFFD, and control
/// characters are escaped, so that a terminal can show it safely.
std::string to_json_line(const nlohmann::ordered_json& value);

}  // namespace gondola
