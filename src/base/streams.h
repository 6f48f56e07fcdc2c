#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace gondola {

/// To be called first in main. A standard stream that is closed becomes /dev/null (which refuses what is written), or
/// else the next file that is opened would be given its place and everything that is printed; and stdout hands on every
/// line as soon as it ends.
void prepare_standard_streams();

/// Text that a terminal may be shown: control characters other than tabs become \xNN, and bytes that are not UTF-8
/// U+FFFD, so that names, labels and what files hold can neither steer it nor begin a line.
std::string printable(std::string_view text);

/// Writes a line to stdout as it is. Throws Error when that cannot be done.
void print_verbatim(const std::string& line);

/// Writes a line to stdout, made printable. Throws Error when that cannot be done.
template <typename... Arguments>
void print_line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_verbatim(printable(fmt::format(format, std::forward<Arguments>(arguments)...)));
}

/// Writes a line to stderr. Unlike print_line it does not throw when that cannot be done, as when a disk is full.
void print_error_line(const std::string& line);

template <typename... Arguments>
void print_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_error_line(fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace gondola
