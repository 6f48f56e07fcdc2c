#include "train/communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <sched.h>

#include <algorithm>
#include <iterator>
#include <ranges>
#include <set>
#include <thread>

#include "base/cpu_quota.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/hash.h"
#include "torch_towers/message_of.h"
#include "train/rank_watch.h"

#if __has_include(<gloo/algorithm.h>)
#define GONDOLA_GLOO 1
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#if defined(USE_C10D_NCCL) && __has_include(<nccl.h>)
#define GONDOLA_NCCL 1
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace gondola {
namespace {

using BackendPointer = c10::intrusive_ptr<c10d::Backend>;
using StorePointer = c10::intrusive_ptr<c10d::Store>;

/// For all ranks to start. Afterwards RankWatch finds lost ranks; only ranks that wait for each other forever (a bug in
/// this program) run into the collectives' timeout, which must exceed what rank 0 does alone (validation).
constexpr auto rendezvous_timeout = std::chrono::minutes(5);
constexpr auto collective_timeout = std::chrono::hours(24);

#ifdef GONDOLA_GLOO
BackendPointer make_gloo(const StorePointer& store, int rank, int size, const std::string& address) {
  auto options = c10d::ProcessGroupGloo::Options::create(rendezvous_timeout);
  if (const auto interface = environment("GLOO_SOCKET_IFNAME"))
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForInterface(*interface));
  else if (address == "127.0.0.1" || address == "localhost")
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  else
    options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
  auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);  // connects all
  gloo->setTimeout(collective_timeout);
  return gloo;
}
#endif

BackendPointer make_backend(const StorePointer& store, int rank, int size, const std::string& device,
                            const std::string& address) {
  if (!device.starts_with("cpu")) {
#ifdef GONDOLA_NCCL
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = collective_timeout;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, size, options);
#else
    fail("{} processes on {}: this gondola-train was built without NCCL", size, device);
#endif
  }
#ifdef GONDOLA_GLOO
  return make_gloo(store, rank, size, address);
#else
  (void)store, (void)rank, (void)address;
  fail("{} processes: this gondola-train was built without Gloo's headers (Debian: libgloo-dev)", size);
#endif
}

std::set<std::string_view> lines_of(std::string_view text) {
  std::set<std::string_view> lines;
  for (const auto line : std::views::split(text, '\n')) lines.emplace(line.begin(), line.end());
  return lines;
}

/// Waits until all ranks have reached `place`.
void rendezvous(c10d::Store& store, int size, const std::string& place) {
  const std::string all = "all have come to " + place;
  if (store.add(place, 1) == size) store.set(all, std::string("yes"));
  store.wait({all}, rendezvous_timeout);
}

}  // namespace

struct Communicator::Group {
  BackendPointer backend;
  at::TensorOptions options;  ///< for small tensors of our own
  StorePointer store;
  std::unique_ptr<RankWatch> watch;
};

Communicator::Communicator() = default;

Communicator::Communicator(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size)
    : rank_(rank), size_(size) {
  if (size == 1) return;
  group_ = std::make_unique<Group>();
  group_->backend = make_backend(store, rank, size, "cpu", "127.0.0.1");
  group_->options = at::kFloat;
}

Communicator::Communicator(const Launch& launch, const std::string& device,
                           const std::function<void(const std::string&)>& on_failure)
    : rank_(launch.rank), size_(launch.size) {
  if (size_ == 1) return;
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(launch.port);
  options.isServer = launch.hosts_store && rank_ == 0;
  options.waitWorkers = false;
  options.timeout = rendezvous_timeout;
  group_ = std::make_unique<Group>();
  group_->options = at::TensorOptions(at::Device(device)).dtype(at::kFloat);
  const char* hint = "";
  try {
    const auto tcp = c10::make_intrusive<c10d::TCPStore>(launch.address, options);
    group_->store = c10::make_intrusive<c10d::PrefixStore>("gondola/" + launch.attempt, tcp);
    rendezvous(*group_->store, size_, "the start");  // Gloo would wait for them as long as for a collective
    if (launch.local_size < size_ && device == "cpu") hint = " (GLOO_SOCKET_IFNAME names the network of the machines)";
    group_->backend = make_backend(group_->store, rank_, size_, device, launch.address);
    hint = "";
    rendezvous(*group_->store, size_, "the watch");  // NCCL does not wait, and late ranks would be taken for dead
    group_->watch = std::make_unique<RankWatch>(group_->store->clone(), rank_, size_, options.isServer, on_failure);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("rank {} of {} could not meet the others at {}:{}{}: {}", rank_, size_, launch.address, launch.port, hint,
         message_of(error));
  }
}

Communicator::~Communicator() = default;

/// Waits for a collective. Its error tells at most which connection broke; the watch finds the rank to blame.
void Communicator::wait(const std::function<void()>& work) {
  RankWatch* watch = group_->watch.get();
  const RankWatch::Waiting waiting(watch);
  try {
    work();
  } catch (const std::exception& error) {
    const std::string verdict = watch == nullptr ? "" : watch->verdict();
    if (!verdict.empty()) fail("{}", verdict);
    fail("rank {} of {} lost the connection to another: {}", rank_, size_, message_of(error));
  }
}

std::function<void()> Communicator::start_all_reduce(const at::Tensor& values, std::function<void()> done) {
  if (!group_) return [] {};
  std::vector<at::Tensor> tensors = {values};
  const auto work = group_->backend->allreduce(tensors);
  if (done) work->getFuture()->addCallback([done = std::move(done)](c10::ivalue::Future&) { done(); });
  return [this, work] { wait([&] { work->wait(); }); };
}

void Communicator::all_reduce(at::Tensor& values) {
  if (!group_) return;
  const at::NoGradGuard no_gradients;
  const auto contiguous = values.contiguous();
  start_all_reduce(contiguous)();
  if (!contiguous.is_same(values)) values.copy_(contiguous);
}

at::Tensor Communicator::all_gather(const at::Tensor& values) {
  if (!group_) return values;
  const at::NoGradGuard no_gradients;
  auto input = values.contiguous();
  auto shape = values.sizes().vec();
  shape.at(0) *= size_;
  auto output = at::empty(shape, input.options());
  wait([&] { group_->backend->_allgather_base(output, input)->wait(); });
  return output;
}

at::Tensor Communicator::ring_shift(const at::Tensor& values) {
  if (!group_) return values;
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> out = {values.contiguous()}, in = {at::empty_like(out[0])};
  c10d::Backend& backend = *group_->backend;
  wait([&] {
    const bool together = backend.supportsCoalescing();  // NCCL: one after the other would wait forever
    if (together) backend.startCoalescing();
    const auto sent = backend.send(out, (rank_ + 1) % size_, 0);
    const auto received = backend.recv(in, (rank_ + size_ - 1) % size_, 0);
    if (together) {
      backend.endCoalescing()->wait();
    } else {
      received->wait();
      sent->wait();
    }
  });
  return in[0];
}

void Communicator::broadcast(at::Tensor& values, int from) {
  if (!group_) return;
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> contiguous = {values.contiguous()};
  c10d::BroadcastOptions options;
  options.rootRank = from;
  wait([&] { group_->backend->broadcast(contiguous, options)->wait(); });
  if (!contiguous[0].is_same(values)) values.copy_(contiguous[0]);
}

void Communicator::barrier() {
  any(false);
}

bool Communicator::any(bool here) {
  if (!group_) return here;
  auto flag = at::full({1}, here ? 1 : 0, group_->options);
  all_reduce(flag);
  return flag.item<float>() > 0;
}

void Communicator::require_same(const char* what, const std::string& lines) {
  if (!group_) return;
  const auto sizes =
      all_gather(at::full({1}, static_cast<std::int64_t>(lines.size()), group_->options.dtype(at::kLong)));
  const auto longest = sizes.max().item<std::int64_t>();
  auto own = at::zeros({1, longest}, at::kByte);
  std::ranges::copy(lines, own.data_ptr<std::uint8_t>());
  const auto all = all_gather(own.to(group_->options.device())).cpu();
  for (int other = 0; other < size_; ++other) {
    const auto bytes = all[other].narrow(0, 0, sizes[other].item<std::int64_t>()).contiguous();
    const std::string theirs(bytes.data_ptr<std::uint8_t>(), bytes.data_ptr<std::uint8_t>() + bytes.numel());
    if (theirs == lines) continue;
    const auto ours = lines_of(lines), of_other = lines_of(theirs);
    std::vector<std::string_view> here, there;
    std::ranges::set_difference(ours, of_other, std::back_inserter(here));
    std::ranges::set_difference(of_other, ours, std::back_inserter(there));
    fail("rank {} of {}: the {} of the ranks differ: here {}, on rank {} {}", rank_, size_, what, fmt::join(here, ", "),
         other, fmt::join(there, ", "));
  }
}

int Communicator::own_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool is_known = ::sched_getaffinity(0, sizeof set, &set) == 0;
  int alike = 1, of_machine = 1;
  if (group_) {
    const std::string machine = host_name(), bytes(reinterpret_cast<const char*>(&set), sizeof set);
    const auto own = at::tensor({static_cast<std::int64_t>(hash_of(machine)),
                                 static_cast<std::int64_t>(hash_of(machine + "\n" + bytes))})
                         .view({1, 2})
                         .to(group_->options.device());
    const auto same = all_gather(own).eq(own).sum(0);
    of_machine = same[0].item<int>();
    alike = same[1].item<int>();
  }
  const int processors = is_known ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
  return granted_processors(processors / alike, of_machine);
}

std::shared_ptr<void> Communicator::waiting_for_io() {
  return group_ ? std::make_shared<RankWatch::Waiting>(group_->watch.get()) : nullptr;
}

void Communicator::report_failure(const std::string& message) {
  if (group_ && group_->watch) group_->watch->report(message);
}

}  // namespace gondola
