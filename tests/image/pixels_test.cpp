#include "image/pixels.h"

#include <gtest/gtest.h>

#include <thread>

namespace gondola {
namespace {

constexpr std::size_t large = std::size_t{1} << 20;

TEST(Pixels, AreAlignedAndWritableAtAnySize) {
  for (std::size_t size : {std::size_t{1}, std::size_t{63}, std::size_t{65}, large, 5 * large + 1}) {
    Pixels pixels(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pixels.data()) % 64, 0u);
    pixels.front() = pixels.back() = 7;
    const Pixels copy = pixels;
    EXPECT_EQ(copy, pixels);
  }
  EXPECT_EQ(Pixels(3, 9), (Pixels{9, 9, 9}));
}

TEST(Pixels, AThreadKeepsItsLargestBlocks) {
  std::thread([] {
    const std::uint8_t* small_block = nullptr;
    const std::uint8_t* large_block = nullptr;
    {
      const Pixels first(2 * large), second(large), third(large), fourth(large), fifth(large);
      large_block = first.data();
    }
    {
      const Pixels one(large);  // the smallest that fits, not the largest
      small_block = one.data();
      EXPECT_NE(small_block, large_block);
      EXPECT_EQ(Pixels(2 * large - 5).data(), large_block);
    }
    // Blocks in use are never handed out.
    const Pixels a(2 * large), b(2 * large), c(2 * large);
    EXPECT_TRUE(a.data() != b.data() && b.data() != c.data() && a.data() != c.data());
  }).join();
}

TEST(Pixels, MayOutliveTheirThreadsSpareBlocks) {
  // Thread-locals are destroyed in reverse order of construction: `late` after the store of spare blocks.
  std::thread([] {
    static thread_local Pixels late(large);
    { const Pixels early(2 * large); }
    late[0] = 1;
  }).join();
}

}  // namespace
}  // namespace gondola
