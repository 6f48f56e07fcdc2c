#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "data/ranges.h"

namespace gondola {

/// Many short strings in one block. Each takes its characters plus eight bytes, where a std::string takes 32.
class StringTable {
 public:
  void add(std::string_view text) {
    characters_ += text;
    texts_.add(text.size());
  }
  std::size_t size() const { return texts_.count(); }
  std::string_view operator[](std::size_t index) const {
    return std::string_view(characters_).substr(texts_.begin_of(index), texts_.size_of(index));
  }

 private:
  std::string characters_;
  Ranges texts_;
};

}  // namespace gondola
