#include "image/pixels.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <utility>

namespace gondola {
namespace {

/// The header in front of the pixels.
struct alignas(64) Block {
  std::size_t size;
};

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t smallest_kept = std::size_t{128} << 10;  // malloc itself keeps smaller ones
constexpr std::size_t most_kept = std::size_t{128} << 20;      // per thread: 44 megapixels of RGB

/// The largest blocks that this thread has freed: of an image, its resized copy and intermediate results.
thread_local std::array<Block*, 4> spares{};
thread_local bool thread_ends = false;

/// Separate from the blocks, since an image may be freed after this is destroyed, at the very end of a thread.
struct Cleanup {
  ~Cleanup() {
    thread_ends = true;
    for (Block*& block : spares) std::free(std::exchange(block, nullptr));
  }
};

std::size_t size_of(const Block* block) {
  return block == nullptr ? 0 : block->size;
}

}  // namespace

void* allocate_pixels(std::size_t size) {
  if (size >= smallest_kept) {
    Block** best = nullptr;
    for (Block*& spare : spares)
      if (size_of(spare) >= size && (best == nullptr || size_of(spare) < size_of(*best))) best = &spare;
    if (best != nullptr) return std::exchange(*best, nullptr) + 1;
  }
  const std::size_t needed = sizeof(Block) + size, alignment = needed < 2 * huge_page ? alignof(Block) : huge_page;
  void* memory = nullptr;
  if (::posix_memalign(&memory, alignment, needed) != 0) throw std::bad_alloc();
  if (alignment == huge_page) ::madvise(memory, needed, MADV_HUGEPAGE);  // only a hint: failure is ignored
  return new (memory) Block{size} + 1;
}

void free_pixels(void* pixels) {
  static thread_local const Cleanup cleanup;
  Block* block = static_cast<Block*>(pixels) - 1;
  if (block->size >= smallest_kept && !thread_ends) {
    Block*& smallest =
        *std::min_element(spares.begin(), spares.end(), [](Block* a, Block* b) { return size_of(a) < size_of(b); });
    std::size_t kept = block->size - size_of(smallest);
    for (const Block* spare : spares) kept += size_of(spare);
    if (size_of(smallest) < block->size && kept <= most_kept) std::swap(smallest, block);
  }
  std::free(block);
}

}  // namespace gondola
