#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>

#include "train/launch.h"

namespace c10d {
class Store;
}

namespace gondola {

/// The processes (ranks) that train together, on PyTorch's c10d: NCCL on GPUs, Gloo on CPUs. One alone needs neither,
/// and all that it asks of others is done at once. All ranks must make the same calls in the same order. When another
/// rank is lost, a call throws Error that names it.
class Communicator {
 public:
  /// Alone.
  Communicator();
  /// With the others that were launched; waits until all are there. A rank that dies or is stuck later (see Watch) ends
  /// in `on_failure`, called with the message on a thread of its own.
  Communicator(const Launch& launch, const std::string& device,
               const std::function<void(const std::string&)>& on_failure);
  /// Over a store that all ranks share; nobody watches.
  Communicator(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// The sum over all ranks, in place; bit-identical on all of them.
  void all_reduce(at::Tensor& values);
  /// Begins the same; the values are there once the returned function has been called. `done`, if there is one, is
  /// called when they are, on another thread (alone never); with NCCL at once, when the GPU has been asked for them.
  std::function<void()> start_all_reduce(const at::Tensor& values, std::function<void()> done = {});
  /// The ranks' values along dimension 0; all of one shape, of one dimension at least.
  at::Tensor all_gather(const at::Tensor& values);
  /// Sends to rank + 1 and returns what rank − 1 sent (modulo size); all of one shape.
  at::Tensor pass_around(const at::Tensor& values);
  /// One rank's values, in place.
  void broadcast(at::Tensor& values, int from = 0);
  void barrier();
  /// Whether any rank says so.
  bool any(bool here);

  /// Throws Error, on every rank, unless all ranks have the same lines of text; it names `what` they are and those that
  /// differ. Ranks that do not share their files would learn different things.
  void require_same(const char* what, const std::string& lines);

  /// How many processors this rank is to use: of those that it may run on its part, beside the ranks that may run on
  /// the same ones (all of a machine, unless their launcher binds each to its own), and of cpu_quota() its part of the
  /// machine's.
  int own_processors();

  /// While the result lives, this rank may wait for a disk or a server and is not taken for stuck. Null when alone.
  std::shared_ptr<void> waiting_for_files();

  /// Tells the others, before it ends, why this rank does.
  void report_failure(const std::string& message);

 private:
  struct Group;
  void wait(const std::function<void()>& work);

  int rank_ = 0, size_ = 1;
  std::unique_ptr<Group> group_;  ///< none when alone
};

}  // namespace gondola
