#include "base/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace gondola {
namespace {

/// Messages name what files hold, of any length and with any bytes, which must not steer the terminal.
std::string printable(const std::string& line) {
  constexpr std::size_t longest = 4000;
  std::string shown;
  for (const char c : line.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    const bool control = (byte < ' ' && c != '\n' && c != '\t') || byte == 0x7f;
    shown += control ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  return line.size() > longest ? shown + " …" : shown;
}

}  // namespace

void prepare_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) == -1) ::open("/dev/null", O_RDONLY);  // takes the lowest
  static char lines[1 << 16];
  std::setvbuf(stdout, lines, _IOLBF, sizeof lines);
}

void print_error_line(const std::string& line) {
  const std::string whole = printable(line) + "\n";
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

}  // namespace gondola
