#pragma once

#include <string>
#include <string_view>

namespace gondola {

/// ASCII letters in lower case, whatever the locale.
inline std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

}  // namespace gondola
