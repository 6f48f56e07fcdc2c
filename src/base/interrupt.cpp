#include "base/interrupt.h"

#include <csignal>

namespace gondola {
namespace {
volatile std::sig_atomic_t signal_received = 0;

void receive(int) {
  signal_received = 1;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = receive;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
  return signal_received != 0;
}

}  // namespace gondola
