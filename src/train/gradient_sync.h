#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "torch_towers/tensors.h"
#include "train/communicator.h"
#include "train/trace.h"

namespace gondola {

/// Replaces each gradient by its sum over all ranks (train/loss.h says why not the mean). Gradients are gathered in
/// buckets, in the order in which a backward pass is likely to complete them. Each bucket is reduced while the pass
/// goes on (Li et al. 2020, arXiv 2006.15704, 3.2).
class GradientSync {
 public:
  /// `communicator` must outlive the object.
  GradientSync(const NamedTensors& parameters, Communicator& communicator);
  ~GradientSync();

  /// Records network activity in `trace`; null: none.
  void trace(std::shared_ptr<Trace> trace) { trace_ = std::move(trace); }

  /// Call before the backward pass that completes the gradients, which must add to each exactly once; those of the
  /// parameters in `complete` are already complete. All ranks must complete theirs in the same order.
  void start(const std::vector<at::Tensor>& complete);

  /// Waits until every parameter has the summed gradient.
  void finish();

  /// Bytes of each bucket, in order.
  std::vector<std::int64_t> bucket_sizes() const;

 private:
  struct Bucket {
    std::vector<at::Tensor> parameters;
    at::Tensor values;  ///< all gradients, one after the other
    std::size_t missing = 0;
    std::function<void()> wait;
  };
  void complete(std::size_t bucket);
  void send(Bucket& bucket);

  Communicator& communicator_;
  std::shared_ptr<Trace> trace_;  // a bucket in transit may outlive this
  std::vector<Bucket> buckets_;
  std::size_t next_ = 0;  ///< bucket to send: all ranks must send in the same order
  bool started_ = false;
};

}  // namespace gondola
