#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace gondola {
namespace {

TEST(Random, IsSplitMix64) {
  // The first outputs for the seed 1234567, from the reference implementation (https://prng.di.unimi.it/splitmix64.c).
  Random random(1234567);
  for (std::uint64_t expected :
       {6457827717110365317u, 3203168211198807973u, 9817491932198370423u, 4593380528125082431u, 16408922859458223821u})
    EXPECT_EQ(random.next(), expected);
}

TEST(Random, IsUniform) {
  Random random(1);
  constexpr int draws = 100'000, cells = 10;
  std::array<int, cells> by_below{}, by_uniform{};
  for (int i = 0; i < draws; ++i) {
    ++by_below.at(random.below(cells));
    const double value = random.uniform(-1, 1);
    ASSERT_GE(value, -1);
    ASSERT_LT(value, 1);
    ++by_uniform.at(static_cast<std::size_t>((value + 1) * cells / 2));
  }
  const double deviation = std::sqrt(draws / static_cast<double>(cells));
  for (int cell = 0; cell < cells; ++cell) {
    EXPECT_NEAR(by_below[static_cast<std::size_t>(cell)], draws / cells, 5 * deviation);
    EXPECT_NEAR(by_uniform[static_cast<std::size_t>(cell)], draws / cells, 5 * deviation);
  }
}

TEST(MixSeed, SeparatesNeighbours) {
  EXPECT_NE(mix_seed(1, 2), mix_seed(2, 1));
  EXPECT_NE(mix_seed(0, 0), mix_seed(0, 1));
}

}  // namespace
}  // namespace gondola
