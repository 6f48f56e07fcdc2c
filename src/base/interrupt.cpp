#include "base/interrupt.h"

#include <csignal>

namespace gondola {
namespace {
volatile std::sig_atomic_t signal_received = 0;
}

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { signal_received = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
  return signal_received != 0;
}

}  // namespace gondola
