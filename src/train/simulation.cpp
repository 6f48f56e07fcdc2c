#include "train/simulation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace gondola {
namespace {

/// The time that `rounds` take, in each of which `bytes` go from a rank to the next.
double network_seconds(int rounds, double bytes, const Link& link) {
  return rounds * (link.latency_seconds + bytes / link.bytes_per_second);
}

/// The share of a step's arithmetic beside which gradients travel. A backward pass takes as long as two forward passes;
/// several micro-batches take a second forward pass, and only the last one's backward pass completes gradients.
double overlap(const StepShape& step, double pairs) {
  if (step.activation_checkpointing) return 0;
  const double parts = step.micro_batch_size == 0 ? 1 : std::ceil(pairs / step.micro_batch_size);
  return parts == 1 ? 2.0 / 3 : 0.5 / parts;
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
  result.ring = network_seconds(2 * (ranks - 1), features, link) + network_seconds(ranks, features, link) +
                network_seconds(ranks, sums, link);
  result.bytes_sent = (3 * ranks - 2) * features + ranks * sums;

  const double all_bytes = std::accumulate(step.buckets.begin(), step.buckets.end(), 0.0);
  const double backward = overlap(step, pairs) * result.compute;
  double filled = 0, network_free = 0;  // since the backward pass began
  for (const std::int64_t bytes : step.buckets) {
    filled += static_cast<double>(bytes);
    const double ready = backward * filled / all_bytes;
    const double seconds = network_seconds(2 * (ranks - 1), static_cast<double>(bytes) / ranks, link);
    network_free = std::max(network_free, ready) + seconds;
    result.reduce += seconds;
    result.bytes_sent += 2.0 * (ranks - 1) * static_cast<double>(bytes) / ranks;
  }
  result.exposed = std::max(0.0, network_free - backward);
  if (step.shard_optimizer) {
    const int depth = std::bit_width(static_cast<unsigned>(ranks - 1));  // of a broadcast's tree
    result.weights = network_seconds(ranks * depth, all_bytes / ranks, link);
    result.bytes_sent += (ranks - 1) * all_bytes / ranks;
  }
  return result;
}

}  // namespace gondola
