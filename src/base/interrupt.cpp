#include "base/interrupt.h"

#include <csignal>

#include "base/error.h"

namespace gondola {
namespace {

volatile std::sig_atomic_t signal_received = 0;

void receive(int) {
  signal_received = 1;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGHUP, SIG_IGN);  // a shell that ends sends it, and then the kernel once more
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = receive;
  for (const int each : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    ::sigaction(each, nullptr, &before);
    if (each != SIGHUP || before.sa_handler != SIG_IGN) ::sigaction(each, &action, nullptr);  // nohup ignores it
  }
}

bool interrupted() {
  return signal_received != 0;
}

void stop_if_interrupted() {
  if (interrupted()) fail("interrupted");
}

}  // namespace gondola
