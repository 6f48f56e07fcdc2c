#pragma once

#include <string>

#include "base/json.h"

namespace gondola {

/// The text with U+FFFD for the bytes that are not UTF-8.
inline std::string valid_utf8(const std::string& text) {
  return Json::parse(to_json_line(text)).get<std::string>();
}

}  // namespace gondola
