#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "tests/kernels/kernels_fixture.h"

namespace gondola {
namespace {

/// Products and peaks in the tiles of AMX.
class AmxTest : public testing::Test {
 protected:
  void SetUp() override {
    if (test::kernel_isas().back() != Isa::amx)
      GTEST_SKIP() << "AMX is emulated only on a processor with AVX-512 BF16 and no AMX";
  }
  const Kernels& kernels() const { return kernels_for(Isa::amx); }
};

/// The configuration of this thread's tiles; zeros where there is none.
std::array<std::uint8_t, 64> tile_configuration() {
  std::array<std::uint8_t, 64> bytes;
  asm volatile("sttilecfg %0" : "=m"(bytes));
  return bytes;
}

TEST_F(AmxTest, NoProductLeavesItsTilesConfigured) {
  alignas(64) const std::byte left[16 * 64] = {}, right[16 * 128] = {};
  const float scales[32] = {};
  const std::int32_t sums[32] = {};
  const RowScale row_scales[16] = {};
  float out[16 * 32];
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    const std::size_t depth = 16 * group_size(precision);
    GemmArguments g;
    g.rows = 16;
    g.left = left;
    g.left_stride = depth;
    g.left_scales = row_scales;
    g.right = {precision, depth, 32, right, scales, sums};
    g.last_panel = 1;
    g.out = out;
    g.out_stride = 32;
    kernels().gemm(g);
    EXPECT_EQ(tile_configuration(), (std::array<std::uint8_t, 64>{}));
  }
}

TEST_F(AmxTest, PeaksCountTheOperationsOfFourTiles) {
  for (Precision precision : {Precision::bf16, Precision::int8}) {
    const std::size_t operations = 2 * 16 * 16 * 16 * group_size(precision);
    EXPECT_EQ(kernels().peak_of[static_cast<std::size_t>(precision)](5), 5 * 4 * operations);
    EXPECT_EQ(tile_configuration(), (std::array<std::uint8_t, 64>{}));
  }
}

}  // namespace
}  // namespace gondola
