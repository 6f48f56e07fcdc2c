#include "train/simulation.h"

#include <gtest/gtest.h>

namespace gondola {
namespace {

constexpr std::int64_t mb = 1'000'000;

TEST(Simulation, OfOneRankIsItsArithmetic) {
  const SimulatedStep step = simulate_step({640, 512, {25 * mb}}, 1, 64, {1e6, 1e-3});
  EXPECT_DOUBLE_EQ(step.seconds(), 10);
  EXPECT_DOUBLE_EQ(step.bytes_sent, 0);
}

TEST(Simulation, OfTwoRanksByHand) {
  // 100 pairs a rank: 2 s, of which 1 s backward; 10 MB/s.
  const SimulatedStep step = simulate_step({200, 250, {4 * mb, 4 * mb}, 0.5}, 2, 50, {10e6, 0});
  const double features = 100 * 250 * 4, sums = 400;
  EXPECT_DOUBLE_EQ(step.compute, 2);
  EXPECT_NEAR(step.ring, (4 * features + 2 * sums) / 10e6, 1e-12);
  // Each bucket takes 2 rounds of 2 MB, 0.4 s: the first from 0.5 to 0.9, the second from 1.0 to 1.4.
  EXPECT_NEAR(step.reduce, 0.8, 1e-12);
  EXPECT_NEAR(step.exposed, 0.4, 1e-12);
  EXPECT_NEAR(step.bytes_sent, 4 * features + 2 * sums + 8e6, 1e-6);
}

TEST(Simulation, QueuesBucketsOnASlowLink) {
  // All filled at 0.5 s and 1 s, each 4 s on the wire: the second waits for the first.
  const SimulatedStep step = simulate_step({200, 1, {4 * mb, 4 * mb}, 0.5}, 2, 50, {1e6, 0});
  EXPECT_NEAR(step.exposed, 0.5 + 8 - 1, 1e-3);
}

TEST(Simulation, CountsLatencyByRounds) {
  const SimulatedStep step = simulate_step({800, 1, {8}, 0.5}, 8, 1e9, {1e30, 1e-3});
  EXPECT_NEAR(step.ring, (14 + 8 + 8) * 1e-3, 1e-9);
  EXPECT_NEAR(step.reduce, 14e-3, 1e-9);
}

}  // namespace
}  // namespace gondola
