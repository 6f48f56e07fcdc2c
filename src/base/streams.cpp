#include "base/streams.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

namespace gondola {

std::string printable(std::string_view text) {
  return escape_controls(replace_invalid_utf8(text),
                         [](unsigned code) { return code == '\t' ? "\t" : fmt::format("\\x{:02x}", code); });
}

void prepare_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) == -1) ::open("/dev/null", O_RDONLY);  // takes the lowest free descriptor
  static char lines[1 << 16];
  std::setvbuf(stdout, lines, _IOLBF, sizeof lines);
}

std::size_t terminal_width(std::FILE* stream) {
  winsize size{};
  return ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void print_verbatim(const std::string& line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fputc('\n', stdout) == EOF)
    fail("stdout cannot be written: {}", std::strerror(errno));
}

void print_json_line(const nlohmann::ordered_json& value) {
  print_verbatim(to_json_line(value));
}

void print_error_line(const std::string& line) {
  constexpr std::size_t longest = 4000;  // messages quote file contents of any length
  const std::string whole =
      printable(std::string_view(line).substr(0, longest)) + (line.size() > longest ? " …\n" : "\n");
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

}  // namespace gondola
