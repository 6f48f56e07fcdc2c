#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gondola {

/// Allocates `size` bytes, aligned to 64, and frees them. Each thread keeps a few of the largest blocks that it has
/// freed for its next image: page faults on fresh memory would take half as long as decoding a JPEG into it.
void* allocate_pixels(std::size_t size);
void free_pixels(void* block);

template <class T>
struct PixelAllocator {
  using value_type = T;
  PixelAllocator() = default;
  template <class U>
  PixelAllocator(const PixelAllocator<U>&) {}

  T* allocate(std::size_t count) { return static_cast<T*>(allocate_pixels(count * sizeof(T))); }
  void deallocate(T* block, std::size_t) { free_pixels(block); }
  /// resize() leaves new pixels uninitialised; a decoder overwrites them all.
  void construct(T*) {}
  template <class... Values>
  void construct(T* pixel, Values&&... values) {
    ::new (static_cast<void*>(pixel)) T(static_cast<Values&&>(values)...);
  }
  bool operator==(const PixelAllocator&) const = default;
};

using Pixels = std::vector<std::uint8_t, PixelAllocator<std::uint8_t>>;

}  // namespace gondola
