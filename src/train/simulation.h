#pragma once

#include <cstdint>
#include <vector>

namespace gondola {

/// A training step as the network sees it.
struct StepShape {
  std::int64_t batch_size = 0;  ///< pairs of all ranks together
  int embed_dim = 0;
  std::vector<std::int64_t>
      buckets;  ///< bytes of the gradients that are summed together, as the backward pass fills them
  double backward_share = 2.0 / 3;  ///< of a step's arithmetic; 1/2 when micro-batches compute the forward pass twice
};

/// Between any two ranks, each way.
struct Link {
  double bytes_per_second = 0;
  double latency_seconds = 0;
};

/// Where the time of a step goes, in seconds; a step lasts compute + ring + exposed.
struct SimulatedStep {
  double compute = 0;     ///< towers, loss and update
  double ring = 0;        ///< texts and their gradients going round between the loss's blocks
  double reduce = 0;      ///< all-reduces of the gradients, overlapped with the backward pass or not
  double exposed = 0;     ///< the part of `reduce` that the backward pass does not hide
  double bytes_sent = 0;  ///< by each rank

  double seconds() const { return compute + ring + exposed; }
};

/// Replays one step of `ranks` alike, each of which computes `pairs_per_second` when it is alone: the loss's ring
/// (train/loss.h), then the buckets' ring all-reduces, one after the other, each as soon as the backward pass has
/// filled it (in proportion to the bytes). A ring all-reduce of S bytes takes 2(w − 1) rounds of S / w bytes (Patarasuk
/// and Yuan 2009). The update is counted with the arithmetic.
SimulatedStep simulate_step(const StepShape& step, int ranks, double pairs_per_second, const Link& link);

}  // namespace gondola
