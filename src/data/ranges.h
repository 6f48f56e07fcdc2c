#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gondola {

/// Consecutive ranges of numbers, starting at 0: the shards of a set's samples, the texts of a block of characters.
class Ranges {
 public:
  void add(std::size_t size) { ends_.push_back(end() + size); }

  std::size_t count() const { return ends_.size(); }
  /// The end of the last range.
  std::size_t end() const { return ends_.empty() ? 0 : ends_.back(); }
  std::size_t begin_of(std::size_t range) const { return range == 0 ? 0 : ends_[range - 1]; }
  std::size_t size_of(std::size_t range) const { return ends_[range] - begin_of(range); }
  /// The range that `number` lies in; count() when it is not below end().
  std::size_t range_containing(std::size_t number) const {
    return static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), number) - ends_.begin());
  }

 private:
  std::vector<std::size_t> ends_;
};

/// Numbers by group, in their original order within each group: where the captions of each image are.
class Grouped {
 public:
  Grouped() = default;

  /// numbers[i] belongs to group groups[i], which is below `count`.
  Grouped(std::span<const std::size_t> numbers, std::span<const std::uint32_t> groups, std::size_t count)
      : numbers_(numbers.size()) {
    std::vector<std::size_t> sizes(count), next;
    for (const std::uint32_t group : groups) ++sizes[group];
    for (const std::size_t size : sizes) {
      next.push_back(places_.end());
      places_.add(size);
    }
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers_[next[groups[i]]++] = numbers[i];
  }

  std::size_t count() const { return places_.count(); }
  std::span<const std::size_t> operator[](std::size_t group) const {
    return std::span(numbers_).subspan(places_.begin_of(group), places_.size_of(group));
  }
  /// The numbers of all groups, one group after the other.
  std::span<const std::size_t> numbers() const { return numbers_; }

 private:
  Ranges places_;  ///< where each group lies in numbers_
  std::vector<std::size_t> numbers_;
};

}  // namespace gondola
