#include "base/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

namespace gondola {
namespace {

/// Runs `act` in a process of its own, and expects it to leave that process interrupted or not.
void expect_interrupted(bool expected, void (*act)()) {
  const auto tell = [act] {
    act();
    std::_Exit(interrupted() ? 1 : 0);
  };
  EXPECT_EXIT(tell(), testing::ExitedWithCode(expected ? 1 : 0), "");
}

TEST(InterruptDeathTest, TwoHangupsInterruptWithoutKilling) {
  expect_interrupted(true, [] {
    catch_interrupts();
    std::raise(SIGHUP);
    std::raise(SIGHUP);
  });
}

TEST(InterruptDeathTest, IgnoresHangupsUnderNohup) {
  expect_interrupted(false, [] {
    std::signal(SIGHUP, SIG_IGN);
    catch_interrupts();
    std::raise(SIGHUP);
  });
}

TEST(InterruptDeathTest, IgnoresBrokenPipes) {
  expect_interrupted(false, [] {
    catch_interrupts();
    std::raise(SIGPIPE);
  });
}

TEST(InterruptDeathTest, KillsTheProcessOnTheSecondCtrlC) {
  const auto twice = [] {
    catch_interrupts();
    std::raise(SIGINT);
    std::raise(SIGINT);
  };
  EXPECT_EXIT(twice(), testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace gondola
