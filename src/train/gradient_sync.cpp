#include "train/gradient_sync.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>

namespace gondola {
namespace {

/// Limits on a bucket's size, which is otherwise an eighth of all gradients, so that a small model's first bucket
/// leaves early too. 25 MiB is the default of PyTorch's DistributedDataParallel.
constexpr std::int64_t least_bucket_bytes = 1 << 20, most_bucket_bytes = 25 << 20;

/// Called when a parameter's gradient has been added to.
struct Hook : torch::autograd::PostAccumulateGradHook {
  explicit Hook(std::function<void()> function) : call(std::move(function)) {}
  void operator()(const torch::autograd::Variable&) override { call(); }
  std::function<void()> call;
};

}  // namespace

GradientSync::GradientSync(const NamedTensors& parameters, Communicator& communicator) : communicator_(communicator) {
  std::int64_t all_bytes = 0;
  for (const auto& [name, parameter] : parameters) all_bytes += static_cast<std::int64_t>(parameter.nbytes());
  const std::int64_t bucket_bytes = std::clamp(all_bytes / 8, least_bucket_bytes, most_bucket_bytes);
  std::int64_t bytes = bucket_bytes;
  for (auto item = parameters.rbegin(); item != parameters.rend(); ++item) {
    const at::Tensor& parameter = item->second;
    const auto size = static_cast<std::int64_t>(parameter.nbytes());
    if (bytes + size > bucket_bytes) {
      buckets_.emplace_back();
      bytes = 0;
    }
    bytes += size;
    buckets_.back().parameters.push_back(parameter);
  }
  if (communicator_.size() == 1) return;
  for (std::size_t index = 0; index < buckets_.size(); ++index) {
    Bucket& bucket = buckets_[index];
    std::int64_t values = 0;
    for (const at::Tensor& parameter : bucket.parameters) {
      values += parameter.numel();
      torch::autograd::impl::set_post_acc_grad_hooks(parameter,
                                                     std::make_unique<Hook>([this, index] { complete(index); }));
    }
    bucket.values = at::empty({values}, bucket.parameters[0].options().requires_grad(false));
  }
}

GradientSync::~GradientSync() {
  for (const Bucket& bucket : buckets_)
    for (const at::Tensor& parameter : bucket.parameters)
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientSync::start(const std::vector<at::Tensor>& complete_already) {
  if (communicator_.size() == 1) return;
  started_ = true;
  next_ = 0;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters.size();
  for (std::size_t index = 0; index < buckets_.size(); ++index)
    for (const at::Tensor& parameter : buckets_[index].parameters)
      for (const at::Tensor& other : complete_already)
        if (parameter.is_same(other)) complete(index);
}

void GradientSync::complete(std::size_t bucket) {
  if (!started_) return;
  --buckets_[bucket].missing;
  while (next_ < buckets_.size() && buckets_[next_].missing == 0) send(buckets_[next_++]);
}

void GradientSync::send(Bucket& bucket) {
  const at::NoGradGuard no_gradients;
  std::int64_t first = 0;
  for (at::Tensor& parameter : bucket.parameters) {
    const auto place = bucket.values.narrow(0, first, parameter.numel()).view(parameter.sizes());
    place.copy_(parameter.grad());
    parameter.mutable_grad() = place;
    first += parameter.numel();
  }
  std::function<void()> sent;
  if (trace_ != nullptr)
    sent = [trace = trace_, begin = Trace::Clock::now()] {
      trace->record("all-reduce", Trace::Row::network, begin, Trace::Clock::now());
    };
  bucket.wait = communicator_.start_all_reduce(bucket.values, std::move(sent));
}

void GradientSync::finish() {
  if (!started_) return;
  for (const Bucket& bucket : buckets_) bucket.wait();
  started_ = false;
}

std::vector<std::int64_t> GradientSync::bucket_sizes() const {
  std::vector<std::int64_t> sizes;
  for (const Bucket& bucket : buckets_) {
    std::int64_t bytes = 0;
    for (const at::Tensor& parameter : bucket.parameters) bytes += static_cast<std::int64_t>(parameter.nbytes());
    sizes.push_back(bytes);
  }
  return sizes;
}

}  // namespace gondola
