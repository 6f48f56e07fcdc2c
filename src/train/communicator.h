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

/// The processes (ranks) that train together, over PyTorch's c10d: NCCL on GPUs, Gloo on CPUs. A single process needs
/// neither, and its calls return at once. All ranks must make the same calls in the same order. When another rank is
/// lost, a call throws Error that names it.
class Communicator {
 public:
  /// A single process.
  Communicator();
  /// Joins the other processes of the launch and waits until all are there. If a rank later dies or gets stuck (see
  /// RankWatch), calls `on_failure` with the message on a thread of its own.
  Communicator(const Launch& launch, const std::string& device,
               const std::function<void(const std::string&)>& on_failure);
  /// Joins the other ranks over a store that they share, without a RankWatch.
  Communicator(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// Replaces `values` by their sum over all ranks, bit-identical on all of them.
  void all_reduce(at::Tensor& values);
  /// Starts the same; `values` are complete once the returned function returns. `done`, if given, is called when they
  /// are, on another thread; with NCCL as soon as the GPU has been asked for them; in a single process never.
  std::function<void()> start_all_reduce(const at::Tensor& values, std::function<void()> done = {});
  /// The values of all ranks, concatenated along dimension 0; all have the same shape, of at least one dimension.
  at::Tensor all_gather(const at::Tensor& values);
  /// Sends to rank + 1 and returns what rank − 1 sent (modulo size); all have the same shape.
  at::Tensor ring_shift(const at::Tensor& values);
  /// Overwrites `values` with those of rank `from`.
  void broadcast(at::Tensor& values, int from = 0);
  void barrier();
  /// Whether `here` is true on any rank.
  bool any(bool here);

  /// Throws Error on every rank unless all have the same lines of text. The message names `what` they are and the lines
  /// that differ. Ranks that do not share their files would learn different things.
  void require_same(const char* what, const std::string& lines);

  /// The number of processors that this rank should use: those of its affinity mask, divided by the ranks on the
  /// machine with the same mask (all of them, unless the launcher binds each to its own), and at most its share of the
  /// machine's cpu_quota().
  int own_processors();

  /// While the result lives, this rank may wait for a disk or a server without being taken for stuck. Null when alone.
  std::shared_ptr<void> waiting_for_io();

  /// Tells the other ranks why this one is about to end.
  void report_failure(const std::string& message);

 private:
  struct Group;
  void wait(const std::function<void()>& work);

  int rank_ = 0, size_ = 1;
  std::unique_ptr<Group> group_;  ///< null when alone
};

}  // namespace gondola
