#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdio>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace gondola {

/// Must be called first in main. Opens closed standard streams on /dev/null (read-only: writing to it fails); otherwise
/// the next file opened would take their descriptor and receive all that is printed. Also makes stdout line-buffered.
void prepare_standard_streams();

/// Text that is safe to show on a terminal: control characters other than tabs become \xNN, and bytes that are not
/// UTF-8 become U+FFFD, so that names, labels and file contents can neither control it nor start a new line.
std::string printable(std::string_view text);

/// The width in columns of the terminal that a stream writes to; 80 if it is not known.
std::size_t terminal_width(std::FILE* stream);

/// Writes a line to stdout as it is. Throws Error if that fails.
void print_verbatim(const std::string& line);

/// Writes a line to stdout, made printable. Throws Error if that fails.
template <typename... Arguments>
void print_line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_verbatim(printable(fmt::format(format, std::forward<Arguments>(arguments)...)));
}

/// Writes one JSON object as a line to stdout. Throws Error if that fails.
void print_json_line(const nlohmann::ordered_json& value);

/// Writes a line to stderr, made printable. Unlike print_line it ignores failures, such as a full disk.
void print_error_line(const std::string& line);

template <typename... Arguments>
void print_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  print_error_line(fmt::format(format, std::forward<Arguments>(arguments)...));
}

}  // namespace gondola
