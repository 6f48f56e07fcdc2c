#include "train/spike_guard.h"

#include <gmock/gmock.h>

#include <limits>

#include "base/error.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// A guard that has seen the norms 1, 2 … 30, whose median is 16.
SpikeGuard experienced(double factor) {
  SpikeGuard guard(factor);
  for (int norm = 1; norm <= 30; ++norm) EXPECT_TRUE(guard.accepts(1, norm));
  return guard;
}

TEST(SpikeGuard, SkipsWhatIsFarAboveTheMedianOfTheLastHundred) {
  SpikeGuard guard = experienced(3);
  EXPECT_FALSE(guard.accepts(1, 48.1));
  EXPECT_TRUE(guard.accepts(1, 47.9));
  EXPECT_FALSE(guard.accepts(nan, 1));
  EXPECT_FALSE(guard.accepts(1, std::numeric_limits<double>::infinity()));
  EXPECT_EQ(guard.skipped(), 3);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(guard.accepts(1, 2));  // the others are forgotten
  EXPECT_FALSE(guard.accepts(1, 6.1));
}

TEST(SpikeGuard, JudgesFiniteNormsOnceItHasSeenTwenty) {
  SpikeGuard guard(2);
  EXPECT_TRUE(guard.accepts(1, 1));
  EXPECT_TRUE(guard.accepts(1, 1000));
  EXPECT_FALSE(guard.accepts(1, nan));
  for (int i = 0; i < 18; ++i) EXPECT_TRUE(guard.accepts(1, 1));
  EXPECT_FALSE(guard.accepts(1, 1000));
}

TEST(SpikeGuard, EndsTheRunAtTheTenthSpikeInARow) {
  SpikeGuard guard = experienced(3);
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(guard.accepts(1, 1e6));
  EXPECT_TRUE(guard.accepts(1, 1));
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(guard.accepts(1, 1e6));
  EXPECT_THAT([&] { guard.accepts(1, nan); }, ThrowsMessage<Error>(HasSubstr("10 updates in a row")));
}

TEST(SpikeGuard, WithoutAFactorEndsTheRunAtTheFirstNan) {
  SpikeGuard guard(0);
  EXPECT_TRUE(guard.accepts(1, 1));
  EXPECT_TRUE(guard.accepts(1, 1e30));
  EXPECT_THAT([&] { guard.accepts(nan, 1); }, ThrowsMessage<Error>(HasSubstr("the loss is nan")));
}

TEST(SpikeGuard, ResumesFromItsState) {
  SpikeGuard guard = experienced(3), resumed(3);
  for (int i = 0; i < 9; ++i) guard.accepts(1, 1e6);
  resumed.load_state(guard.state());
  EXPECT_EQ(resumed.skipped(), 9);
  EXPECT_THROW(SpikeGuard(resumed).accepts(1, 48.1), Error);  // the tenth in a row
  EXPECT_TRUE(resumed.accepts(1, 47.9));
}

}  // namespace
}  // namespace gondola
