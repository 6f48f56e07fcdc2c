#include "train/simulation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace gondola {
namespace {

/// Seconds that `rounds` rounds take, in each of which every rank sends `bytes` to the next.
double network_seconds(int rounds, double bytes, const Link& link) {
  return rounds * (link.latency_seconds + bytes / link.bytes_per_second);
}

/// Into how many micro-batches a rank's pairs are split.
double parts_of(const StepShape& step, double pairs) {
  return step.micro_batch_size == 0 ? 1 : std::ceil(pairs / step.micro_batch_size);
}

}  // namespace

SimulatedStep simulate_step(const StepShape& step, int ranks, double pairs_per_second, const Link& link) {
  SimulatedStep result;
  const double pairs = static_cast<double>(step.batch_size) / ranks;
  // Counted in forward passes: a backward pass takes two, and all micro-batches but one need a second forward pass.
  const double parts = parts_of(step, pairs), passes = 4 - 1 / parts;
  result.compute = passes / 3 * pairs / pairs_per_second;
  if (ranks == 1) return result;

  // Forward: texts, ranks − 1 times, along with their log-sums. Backward: texts again, and their gradients ranks times,
  // the last time back to their owner.
  const double features = pairs * step.embed_dim * sizeof(float), sums = pairs * sizeof(float);
  result.ring = network_seconds(2 * (ranks - 1), features, link) + network_seconds(ranks, features, link) +
                network_seconds(ranks, sums, link);
  result.bytes_sent = (3 * ranks - 2) * features + ranks * sums;

  const double all_bytes = std::accumulate(step.buckets.begin(), step.buckets.end(), 0.0);
  // Only the last micro-batch's backward pass completes gradients.
  const double backward = step.activation_checkpointing ? 0 : 2 / passes / parts * result.compute;
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
    const int owners = std::min(ranks, step.parameters);
    result.weights = network_seconds(owners * depth, all_bytes / owners, link);
    result.bytes_sent += (ranks - 1) * all_bytes / ranks;
  }
  return result;
}

}  // namespace gondola
