#pragma once

#include <string>

#include "base/random.h"

namespace gondola::test {

/// One damaged copy of `bytes`, by number: truncated, bits flipped, bytes overwritten with extreme values, a part cut
/// out or repeated. The same (bytes, number) always gives the same result.
inline std::string mutate(const std::string& bytes, std::uint64_t number) {
  Random random(number);
  std::string damaged = bytes;
  if (damaged.empty()) return damaged;
  const auto position = [&] { return static_cast<std::size_t>(random.below(damaged.size())); };
  switch (random.below(5)) {
    case 0:
      damaged.resize(position());
      break;
    case 1:
      for (std::uint64_t flips = 1 + random.below(8); flips > 0; --flips)
        damaged[position()] ^= static_cast<char>(1 << random.below(8));
      break;
    case 2: {
      constexpr char extremes[] = {'\x00', '\x01', '\x7f', '\x80', '\xff'};
      const std::size_t start = position();
      for (std::size_t i = start; i < damaged.size() && i < start + 1 + random.below(8); ++i)
        damaged[i] = extremes[random.below(sizeof extremes)];
      break;
    }
    case 3:
      damaged.erase(position(), 1 + random.below(64));
      break;
    default: {
      const std::size_t start = position();
      damaged.insert(position(), damaged.substr(start, 1 + random.below(64)));
    }
  }
  return damaged;
}

}  // namespace gondola::test
