#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// Many short strings in one block: eight bytes more than its characters for each, where a std::string takes 32.
class StringTable {
 public:
  void add(std::string_view text) {
    characters_ += text;
    ends_.push_back(characters_.size());
  }
  std::size_t size() const { return ends_.size(); }
  std::string_view operator[](std::size_t index) const {
    const std::uint64_t begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(characters_).substr(begin, ends_[index] - begin);
  }

 private:
  std::string characters_;
  std::vector<std::uint64_t> ends_;
};

}  // namespace gondola
