#pragma once

#include <algorithm>
#include <exception>
#include <string>

namespace gondola {

/// An exception's message on one line, without the call stack that PyTorch appends, also where it quotes another's.
inline std::string message_of(const std::exception& error) {
  const std::string text = error.what();
  std::string line = text.substr(0, text.find("\nException raised from"));
  std::ranges::replace(line, '\n', ' ');
  return line;
}

}  // namespace gondola
