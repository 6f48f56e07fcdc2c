#include "image/pixels.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <utility>

namespace gondola {
namespace {

/// What stands before the pixels.
struct alignas(64) Block {
  std::size_t size;
};

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t smallest_kept = std::size_t{128} << 10;  // smaller ones malloc itself keeps
constexpr std::size_t largest_kept = std::size_t{128} << 20;   // 44 megapixels of RGB

struct Spare {
  Block* block = nullptr;
  ~Spare() { std::free(block); }
};
thread_local Spare spare;

}  // namespace

void* allocate_pixels(std::size_t size) {
  if (size >= smallest_kept && spare.block != nullptr && spare.block->size >= size)
    return std::exchange(spare.block, nullptr) + 1;
  const std::size_t needed = sizeof(Block) + size, alignment = needed < 2 * huge_page ? alignof(Block) : huge_page;
  const std::size_t rounded = (needed + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  if (alignment == huge_page) ::madvise(memory, rounded, MADV_HUGEPAGE);  // a wish, whatever becomes of it
  return new (memory) Block{size} + 1;
}

void free_pixels(void* pixels) {
  Block* block = static_cast<Block*>(pixels) - 1;
  const bool keep = block->size >= smallest_kept && block->size <= largest_kept &&
                    (spare.block == nullptr || spare.block->size < block->size);
  if (keep) std::swap(spare.block, block);
  std::free(block);
}

}  // namespace gondola
