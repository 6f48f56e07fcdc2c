#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace gondola {
namespace {

TEST(Half, EveryValueSurvivesConversionToFloatAndBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_half(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_from_half(half_from_float(value))));
    } else {
      EXPECT_EQ(half_from_float(value), half) << bits;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(half_from_float(1.0f + 0x1p-11f), 0x3c00);      // a tie goes to the even neighbour below
  EXPECT_EQ(half_from_float(1.0f + 3 * 0x1p-11f), 0x3c02);  // and to the one above
  EXPECT_EQ(half_from_float(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
  EXPECT_EQ(half_from_float(65519.99f), 0x7bff);
  EXPECT_EQ(half_from_float(65520.0f), 0x7c00);  // halfway to 2^16: infinity
  EXPECT_EQ(half_from_float(0x1p-25f), 0x0000);  // half of the smallest subnormal: a tie, to zero
  EXPECT_EQ(half_from_float(0x1.8p-25f), 0x0001);
  EXPECT_EQ(half_from_float(-std::numeric_limits<float>::infinity()), 0xfc00);
}

}  // namespace
}  // namespace gondola
