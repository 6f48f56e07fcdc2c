#include "data/sample_order.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace gondola {
namespace {

/// Windows kept of each pass, since threads may still be reading earlier ones.
constexpr std::size_t kept_windows = 4;

__extension__ using Wide = unsigned __int128;

/// floor(count · numerator / denominator)
std::size_t share(std::size_t count, std::size_t numerator, std::size_t denominator) {
  return static_cast<std::size_t>(static_cast<Wide>(count) * numerator / denominator);
}

}  // namespace

std::vector<std::uint32_t> random_permutation(std::size_t size, std::uint64_t seed, std::uint64_t number) {
  if (size > std::numeric_limits<std::uint32_t>::max())
    fail("{} samples to be shuffled at once: at most 2^32 - 1", size);
  std::vector<std::uint32_t> order(size);
  std::iota(order.begin(), order.end(), std::uint32_t{0});
  Random random(mix_seed(seed, number));
  for (std::size_t last = size; last > 1; --last)
    std::swap(order[last - 1], order[random.below(last)]);  // Fisher–Yates
  return order;
}

SampleOrder::SampleOrder(const Dataset& dataset, std::uint64_t seed) : dataset_(dataset) {
  std::size_t begin = 0;
  for (const Part& part : dataset.parts()) {
    if (!(part.weight > 0 && part.weight < 1e6))
      fail("a source has the weight {}, expected one above 0 and below a million", part.weight);
    PartOrder order;
    order.seed = parts_.empty() ? seed : mix_seed(seed, parts_.size());
    order.windows = (part.shards.size() + part.window - 1) / part.window;
    order.begins = {begin};
    for (std::size_t samples : part.shards) order.begins.push_back(begin += samples);
    order.samples = begin - order.begins.front();
    order.drawn = static_cast<std::size_t>(std::llround(part.weight * static_cast<double>(order.samples)));
    if (order.samples > 0 && order.drawn == 0)
      fail("a source of {} samples with the weight {} is never drawn", order.samples, part.weight);
    size_ += order.drawn;
    parts_.push_back(std::move(order));
  }
}

/// Finds the part of a position: of the first j draws that parts k, k+1 … share, floor(j · n_k / (n_k + n_k+1 + …))
/// belong to part k. Neither that count nor the rest ever falls as j grows, so every draw belongs to exactly one part.
Draw SampleOrder::at(std::uint64_t epoch, std::size_t position) const {
  if (position >= size_) fail("draw {} of an epoch of {}", position, size_);
  std::size_t rest = size_, part = 0, before = 0;
  for (;; ++part) {
    const std::size_t drawn = parts_[part].drawn;
    before = share(position, drawn, rest);
    if (share(position + 1, drawn, rest) > before) break;
    position -= before;
    rest -= drawn;
  }
  const PartOrder& order = parts_[part];
  const Wide draws = static_cast<Wide>(epoch) * order.drawn + before;
  const auto pass = static_cast<std::uint64_t>(draws / order.samples);
  return {draw_from(part, pass, static_cast<std::size_t>(draws % order.samples)), pass};
}

std::size_t SampleOrder::draw_from(std::size_t part, std::uint64_t pass, std::size_t position) const {
  const auto window = window_at(part, pass, position);
  const std::size_t place = window->permutation[position - window->begin];
  const std::size_t shard = window->shards.range_containing(place);
  return window->first[shard] + place - window->shards.begin_of(shard);
}

std::shared_ptr<const SampleOrder::Window> SampleOrder::window_at(std::size_t part, std::uint64_t pass,
                                                                  std::size_t position) const {
  const std::lock_guard lock(mutex_);
  const PartOrder& order = parts_[part];
  Pass& current = pass_of(part, pass);
  const std::size_t number = current.samples.range_containing(position);
  if (const auto found = current.windows.find(number); found != current.windows.end()) return found->second;

  auto window = std::make_shared<Window>();
  window->begin = current.samples.begin_of(number);
  for (std::size_t shard : shards_of(order, current, number)) {
    window->first.push_back(order.begins[shard]);
    window->shards.add(order.begins[shard + 1] - order.begins[shard]);
  }
  // A part of one window is permuted as a whole.
  const std::size_t samples = window->shards.end();
  window->permutation = order.windows == 1 ? random_permutation(samples, order.seed, pass)
                                           : random_permutation(samples, mix_seed(order.seed, pass), number);
  while (current.windows.size() >= kept_windows) current.windows.erase(current.windows.begin());
  current.windows.emplace(number, window);

  std::vector<std::size_t> ahead = window->first;
  if (order.windows > 1) {
    const bool last = number + 1 == order.windows;
    const Pass& next = last ? pass_of(part, pass + 1) : current;
    for (std::size_t shard : shards_of(order, next, last ? 0 : number + 1)) ahead.push_back(order.begins[shard]);
  }
  dataset_.prefetch(ahead);
  return window;
}

SampleOrder::Pass& SampleOrder::pass_of(std::size_t part, std::uint64_t pass) const {
  if (const auto found = passes_.find({part, pass}); found != passes_.end()) return found->second;
  Pass made;
  // A thread may still be reading the previous pass, whose last window may also be what asks for this one.
  if (pass > 1) passes_.erase(passes_.lower_bound({part, 0}), passes_.lower_bound({part, pass - 1}));
  const PartOrder& order = parts_[part];
  const std::size_t shards = order.begins.size() - 1;
  if (order.windows == 1) {
    made.shards.resize(shards);
    std::iota(made.shards.begin(), made.shards.end(), std::uint32_t{0});
  } else {
    made.shards = random_permutation(shards, order.seed, pass);
  }
  for (std::size_t window = 0; window < order.windows; ++window) {
    std::size_t samples = 0;
    for (std::size_t shard : shards_of(order, made, window)) samples += order.begins[shard + 1] - order.begins[shard];
    made.samples.add(samples);
  }
  return passes_.emplace(std::pair(part, pass), std::move(made)).first->second;
}

/// The shards of one window. The windows of a pass differ by at most one shard. Empty shards are left out: no sample
/// can name them.
std::vector<std::size_t> SampleOrder::shards_of(const PartOrder& part, const Pass& pass, std::size_t window) const {
  std::vector<std::size_t> shards;
  for (std::size_t i = share(window, pass.shards.size(), part.windows);
       i < share(window + 1, pass.shards.size(), part.windows); ++i)
    if (const std::size_t shard = pass.shards[i]; part.begins[shard] < part.begins[shard + 1]) shards.push_back(shard);
  return shards;
}

}  // namespace gondola
