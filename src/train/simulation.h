#pragma once

#include <cstdint>
#include <vector>

namespace gondola {

/// A training step as the network sees it.
struct StepShape {
  std::int64_t batch_size = 0;  ///< pairs of all ranks together
  int embed_dim = 0;
  std::vector<std::int64_t> buckets;  ///< bytes of each bucket of gradients, in the order they fill
  int parameters = 1;                 ///< tensors, each of which has one owner
  // The recipe's keys of these names:
  int micro_batch_size = 0;
  bool activation_checkpointing = false, shard_optimizer = false;
};

/// The connection between any two ranks, in each direction.
struct Link {
  double bytes_per_second = 0;
  double latency_seconds = 0;
};

/// Where the time of a step goes, in seconds; a step lasts compute + ring + exposed + weights.
struct SimulatedStep {
  double compute = 0;     ///< towers, loss and update
  double ring = 0;        ///< passing texts and their gradients round between the loss's blocks
  double reduce = 0;      ///< all-reduces of the gradients, overlapped with the backward pass or not
  double exposed = 0;     ///< the part of `reduce` that the backward pass does not hide
  double weights = 0;     ///< with shard_optimizer: sending updated weights from their owners to all
  double bytes_sent = 0;  ///< by each rank, on average

  double seconds() const { return compute + ring + exposed + weights; }
};

/// Simulates one step of `ranks` equal ranks, each of which processes `pairs_per_second` when alone and without
/// micro-batches. First comes the loss's ring (train/loss.h), then the buckets' ring all-reduces, one after the other.
/// Each starts once the last micro-batch's backward pass has filled the bucket (in proportion to the bytes), or, with
/// activation_checkpointing, after the whole pass (Objective::backward). A ring all-reduce of S bytes takes 2(w − 1)
/// rounds of S / w bytes (Patarasuk and Yuan 2009); an owner's broadcast is a binomial tree, as Gloo's. The update
/// counts as compute.
SimulatedStep simulate_step(const StepShape& step, int ranks, double pairs_per_second, const Link& link);

}  // namespace gondola
