#pragma once

#include <cstdint>
#include <vector>

namespace gondola {

/// A training step as the network sees it.
struct StepShape {
  std::int64_t batch_size = 0;  ///< pairs of all ranks together
  int embed_dim = 0;
  std::vector<std::int64_t> buckets;  ///< bytes of the gradients that are summed together, as they are filled
  int parameters = 1;                 ///< tensors, of which each has one owner
  // What the recipe's keys of these names say:
  int micro_batch_size = 0;
  bool activation_checkpointing = false, shard_optimizer = false;
};

/// Between any two ranks, each way.
struct Link {
  double bytes_per_second = 0;
  double latency_seconds = 0;
};

/// Where the time of a step goes, in seconds; a step lasts compute + ring + exposed + weights.
struct SimulatedStep {
  double compute = 0;     ///< towers, loss and update
  double ring = 0;        ///< texts and their gradients going round between the loss's blocks
  double reduce = 0;      ///< all-reduces of the gradients, overlapped with the backward pass or not
  double exposed = 0;     ///< the part of `reduce` that the backward pass does not hide
  double weights = 0;     ///< with shard_optimizer: the updated ones, from their owners to all
  double bytes_sent = 0;  ///< by each rank, on average

  double seconds() const { return compute + ring + exposed + weights; }
};

/// Replays one step of `ranks` alike, each of which computes `pairs_per_second` when it is alone and its batch is not
/// split: the loss's ring (train/loss.h), then the buckets' ring all-reduces, one after the other, each as soon as the
/// backward pass of the last micro-batch has filled it (in proportion to the bytes), or after all with
/// activation_checkpointing (Objective::backward). A ring all-reduce of S bytes takes 2(w − 1) rounds of S / w bytes
/// (Patarasuk and Yuan 2009); an owner's broadcast is a binomial tree, as Gloo's. The update is counted with the
/// arithmetic.
SimulatedStep simulate_step(const StepShape& step, int ranks, double pairs_per_second, const Link& link);

}  // namespace gondola
