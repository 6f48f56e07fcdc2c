#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace gondola {

/// Consecutive ranges of numbers from 0 on: the shards of a set's samples, the texts of a block of characters.
class Ranges {
 public:
  void add(std::size_t size) { ends_.push_back(end() + size); }

  std::size_t count() const { return ends_.size(); }
  /// Of the last range.
  std::size_t end() const { return ends_.empty() ? 0 : ends_.back(); }
  std::size_t begin_of(std::size_t range) const { return range == 0 ? 0 : ends_[range - 1]; }
  std::size_t size_of(std::size_t range) const { return ends_[range] - begin_of(range); }
  /// The range that `number` lies in; count() when it is not below end().
  std::size_t holder_of(std::size_t number) const {
    return static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), number) - ends_.begin());
  }

 private:
  std::vector<std::size_t> ends_;
};

}  // namespace gondola
