#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/ranges.h"

namespace gondola {

/// Permutation `number` of [0, size) with this seed: a function of the three alone.
std::vector<std::uint32_t> random_permutation(std::size_t size, std::uint64_t seed, std::uint64_t number);

/// One place of an epoch.
struct Draw {
  std::size_t index = 0;   ///< of the sample in the data set
  std::uint64_t pass = 0;  ///< how often the whole part was drawn before; the epoch if weights are 1
};

/// The order of a data set's samples in every epoch: a function of the seed, the epoch and the position, so that a
/// run's place in its data is a number. An epoch takes round(weight × samples) of each part, spread evenly over the
/// epoch. A part is drawn pass by pass, every sample once a pass: its shards in random order, and in random order the
/// samples of each window of a few shards; a part of no more shards than a window is permuted as a whole. Takes four
/// bytes of memory per sample of the few windows in use. Thread-safe; tells the data set which shards come next.
class SampleOrder {
 public:
  /// `dataset` must outlive the order. Throws Error for a weight that is not above 0 and below a million, or so small
  /// that its source is never drawn.
  SampleOrder(const Dataset& dataset, std::uint64_t seed);

  /// The number of samples in an epoch.
  std::size_t size() const { return size_; }
  Draw at(std::uint64_t epoch, std::size_t position) const;

 private:
  struct PartOrder {
    std::uint64_t seed;
    std::size_t windows;              // in a pass
    std::size_t samples, drawn;       // in a pass, in an epoch
    std::vector<std::size_t> begins;  // first index of each shard in the data set, then the end
  };
  /// Some shards whose samples are shuffled together, from position `begin` of a pass on.
  struct Window {
    std::size_t begin = 0;
    Ranges shards;                           // each shard's samples in the window
    std::vector<std::size_t> first;          // index of each shard's first sample in the data set
    std::vector<std::uint32_t> permutation;  // of the window's samples
  };
  struct Pass {
    std::vector<std::uint32_t> shards;  // in the order of the pass
    Ranges samples;                     // of each window
    std::map<std::size_t, std::shared_ptr<const Window>> windows;
  };

  std::size_t draw_from(std::size_t part, std::uint64_t pass, std::size_t position) const;
  std::shared_ptr<const Window> window_at(std::size_t part, std::uint64_t pass, std::size_t position) const;
  Pass& pass_of(std::size_t part, std::uint64_t pass) const;
  std::vector<std::size_t> shards_of(const PartOrder& part, const Pass& pass, std::size_t window) const;

  const Dataset& dataset_;
  std::vector<PartOrder> parts_;
  std::size_t size_ = 0;
  mutable std::mutex mutex_;  // guards passes_, which only caches what the seed determines
  mutable std::map<std::pair<std::size_t, std::uint64_t>, Pass> passes_;
};

}  // namespace gondola
