#include "base/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

namespace gondola {
namespace {

TEST(InterruptDeathTest, SetsAFlagFirst) {
  const auto interrupt = [](int signal) {
    catch_interrupts();
    if (interrupted()) std::exit(1);
    std::raise(signal);
    std::exit(interrupted() ? 0 : 2);
  };
  EXPECT_EXIT(interrupt(SIGINT), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(interrupt(SIGTERM), testing::ExitedWithCode(0), "");
}

TEST(InterruptDeathTest, KillsAtTheSecond) {
  const auto interrupt_twice = [] {
    catch_interrupts();
    std::raise(SIGINT);
    std::raise(SIGINT);
  };
  EXPECT_EXIT(interrupt_twice(), testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace gondola
