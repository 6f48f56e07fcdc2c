#pragma once

#include <ATen/core/Tensor.h>

namespace gondola {

/// The processes (ranks) that train together: one alone, until a subclass says otherwise. All ranks must make the same
/// calls in the same order.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  /// The sum over all ranks, in place.
  virtual void all_reduce(at::Tensor&) {}
  /// The ranks' values along dimension 0; all of one shape, of one dimension at least.
  virtual at::Tensor all_gather(const at::Tensor& values) { return values; }
  /// Sends to rank + 1 and returns what rank − 1 sent (modulo size); all of one shape.
  virtual at::Tensor pass_around(const at::Tensor& values) { return values; }
};

}  // namespace gondola
