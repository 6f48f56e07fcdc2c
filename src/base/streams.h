#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace gondola {

/// To be called first in main. A standard stream that is closed becomes /dev/null (which refuses what is written), or
/// else the next file that is opened would be given its place and everything that is printed; and stdout hands on every
/// line as soon as it ends.
void prepare_standard_streams();

/// Writes a line to stderr. Unlike fmt::print it does not throw when that cannot be done, as when a disk is full.
void print_error_line(const std::string& line);

template <typename... Arguments>
void print_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_error_line(fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace gondola
