#include "base/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "base/utf8.h"

namespace gondola {
namespace {

/// Messages quote what files hold, of any length and with any bytes, which must not steer the terminal.
std::string printable(const std::string& line) {
  constexpr std::size_t longest = 4000;
  const std::string valid = replace_invalid_utf8(std::string_view(line).substr(0, longest));
  std::string shown;
  for (std::size_t i = 0; i < valid.size(); ++i) {
    const auto byte = static_cast<unsigned char>(valid[i]);
    const auto next = static_cast<unsigned char>(i + 1 < valid.size() ? valid[i + 1] : 0);
    const bool control = (byte < ' ' && byte != '\n' && byte != '\t') || byte == 0x7f;
    const bool upper_control = byte == 0xc2 && next < 0xa0;  // U+0080 to U+009F in UTF-8
    shown +=
        control || upper_control ? fmt::format("\\x{:02x}", upper_control ? next : byte) : std::string(1, valid[i]);
    if (upper_control) ++i;
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
