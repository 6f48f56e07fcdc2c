#include "train/simulation.h"

#include <gtest/gtest.h>

namespace gondola {
namespace {

constexpr std::int64_t mb = 1'000'000;

TEST(Simulation, OfOneRankCostsOnlyItsComputation) {
  const SimulatedStep step = simulate_step({640, 512, {25 * mb}}, 1, 64, {1e6, 1e-3});
  EXPECT_DOUBLE_EQ(step.seconds(), 10);
  EXPECT_DOUBLE_EQ(step.bytes_sent, 0);
}

TEST(Simulation, OfTwoRanksMatchesACalculationByHand) {
  // 150 pairs per rank take 3 s, 2 s of which are backward; the link has 10 MB/s.
  const SimulatedStep step = simulate_step({300, 250, {4 * mb, 4 * mb}}, 2, 50, {10e6, 0});
  const double features = 150 * 250 * 4, sums = 600;
  EXPECT_DOUBLE_EQ(step.compute, 3);
  EXPECT_NEAR(step.ring, (4 * features + 2 * sums) / 10e6, 1e-12);
  // Each bucket takes 2 rounds of 2 MB, 0.4 s: the first from 1.0 to 1.4, the second from 2.0 to 2.4.
  EXPECT_NEAR(step.reduce, 0.8, 1e-12);
  EXPECT_NEAR(step.exposed, 0.4, 1e-12);
  EXPECT_NEAR(step.bytes_sent, 4 * features + 2 * sums + 8e6, 1e-6);
  EXPECT_DOUBLE_EQ(step.seconds(), 3 + step.ring + step.exposed);
}

TEST(Simulation, QueuesBucketsOnASlowLink) {
  // Filled at 1 s and 2 s, each 4 s on the wire: the second waits for the first.
  const SimulatedStep step = simulate_step({300, 1, {4 * mb, 4 * mb}}, 2, 50, {1e6, 0});
  EXPECT_NEAR(step.exposed, 1 + 8 - 2, 1e-9);
}

TEST(Simulation, CountsLatencyByRounds) {
  const SimulatedStep step = simulate_step({800, 1, {8}}, 8, 1e9, {1e30, 1e-3});
  EXPECT_NEAR(step.ring, (14 + 8 + 8) * 1e-3, 1e-9);
  EXPECT_NEAR(step.reduce, 14e-3, 1e-9);
}

TEST(Simulation, OverlapsOnlyTheLastMicroBatch) {
  StepShape shape = {300, 250, {4 * mb, 4 * mb}};
  const auto exposed = [&](int micro_batch_size) {
    shape.micro_batch_size = micro_batch_size;
    return simulate_step(shape, 2, 50, {10e6, 0}).exposed;
  };
  // 150 pairs in four parts: seven forward passes, and four backward passes that take 2/4 s each. The first bucket
  // leaves in the middle of the last one.
  EXPECT_NEAR(exposed(40), 0.25 + 0.8 - 0.5, 1e-12);
  shape.micro_batch_size = 40;
  EXPECT_NEAR(simulate_step(shape, 2, 50, {10e6, 0}).compute, 3.75, 1e-12);
  EXPECT_NEAR(exposed(150), 0.4, 1e-12);
  EXPECT_NEAR(exposed(1000), 0.4, 1e-12);
}

TEST(Simulation, OverlapsNothingWithActivationCheckpointing) {
  StepShape shape = {300, 250, {4 * mb, 4 * mb}};
  shape.activation_checkpointing = true;
  EXPECT_NEAR(simulate_step(shape, 2, 50, {10e6, 0}).exposed, 0.8, 1e-12);
}

TEST(Simulation, SendsTheWeightsOfAShardedOptimiser) {
  StepShape shape = {300, 250, {4 * mb, 4 * mb}, 7};
  const SimulatedStep whole = simulate_step(shape, 5, 50, {1e6, 0.01});
  shape.shard_optimizer = true;
  const SimulatedStep sharded = simulate_step(shape, 5, 50, {1e6, 0.01});
  EXPECT_EQ(whole.weights, 0);
  // Five owners of 1.6 MB each; the other ranks receive an owner's part within three rounds.
  EXPECT_NEAR(sharded.weights, 5 * 3 * (0.01 + 1.6), 1e-9);
  EXPECT_NEAR(sharded.seconds(), whole.seconds() + sharded.weights, 1e-9);
  EXPECT_NEAR(sharded.bytes_sent, whole.bytes_sent + 6.4e6, 1e-3);
  shape.parameters = 2;  // so that only two ranks can own any
  EXPECT_NEAR(simulate_step(shape, 5, 50, {1e6, 0.01}).weights, 2 * 3 * (0.01 + 4), 1e-9);
}

}  // namespace
}  // namespace gondola
