#include "train/simulation.h"

#include <algorithm>
#include <numeric>

namespace gondola {
namespace {

/// The time that `rounds` of a ring take, in each of which every rank sends `bytes` to the next.
double ring_seconds(int rounds, double bytes, const Link& link) {
  return rounds * (link.latency_seconds + bytes / link.bytes_per_second);
}

}  // namespace

SimulatedStep simulate_step(const StepShape& step, int ranks, double pairs_per_second, const Link& link) {
  SimulatedStep result;
  const double pairs = static_cast<double>(step.batch_size) / ranks;
  result.compute = pairs / pairs_per_second;
  if (ranks == 1) return result;

  // Forward: texts, ranks − 1 times. Backward: texts again, and their gradients ranks times, the last time home. The
  // texts' log-sums go along in the forward pass.
  const double features = pairs * step.embed_dim * sizeof(float), sums = pairs * sizeof(float);
  result.ring = ring_seconds(2 * (ranks - 1), features, link) + ring_seconds(ranks, features, link) +
                ring_seconds(ranks, sums, link);
  result.bytes_sent = (3 * ranks - 2) * features + ranks * sums;

  const double all_bytes = std::accumulate(step.buckets.begin(), step.buckets.end(), 0.0);
  const double backward = step.backward_share * result.compute;
  double filled = 0, network_free = 0;  // since the backward pass began
  for (const std::int64_t bytes : step.buckets) {
    filled += static_cast<double>(bytes);
    const double ready = backward * filled / all_bytes;
    const double seconds = ring_seconds(2 * (ranks - 1), static_cast<double>(bytes) / ranks, link);
    network_free = std::max(network_free, ready) + seconds;
    result.reduce += seconds;
    result.bytes_sent += 2.0 * (ranks - 1) * static_cast<double>(bytes) / ranks;
  }
  result.exposed = std::max(0.0, network_free - backward);
  return result;
}

}  // namespace gondola
