#include "base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/error.h"

namespace gondola {
namespace {

std::atomic<bool> signal_received = false;  // written by a handler, read by any thread
static_assert(std::atomic<bool>::is_always_lock_free);

void receive(int) {
  signal_received = true;
  const int error = errno;
  constexpr std::string_view message = "\nstopping; press Ctrl-C again to quit at once\n";
  if (::isatty(STDERR_FILENO) == 1) {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, message.data(), message.size());
  }
  errno = error;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGHUP, SIG_IGN);  // an exiting shell sends it, then the kernel sends it again
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = receive;
  for (const int each : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    ::sigaction(each, nullptr, &before);
    if (each != SIGHUP || before.sa_handler != SIG_IGN) ::sigaction(each, &action, nullptr);  // ignored under nohup
  }
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() {
  return signal_received;
}

void stop_if_interrupted() {
  if (interrupted()) fail("interrupted");
}

}  // namespace gondola
