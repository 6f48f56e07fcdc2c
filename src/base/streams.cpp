#include "base/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace gondola {

void prepare_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) == -1) ::open("/dev/null", O_RDONLY);  // takes the lowest
  static char lines[1 << 16];
  std::setvbuf(stdout, lines, _IOLBF, sizeof lines);
}

void print_error_line(const std::string& line) {
  const std::string whole = line + "\n";
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

}  // namespace gondola
