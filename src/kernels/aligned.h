#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace gondola {

/// Uninitialised floats on a 64-byte boundary (a cache line, and the widest vector).
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::size_t size) { reserve(size); }
  AlignedFloats(AlignedFloats&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  AlignedFloats& operator=(AlignedFloats&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  /// Makes room for `size` floats; growing discards the contents.
  void reserve(std::size_t size) {
    if (size <= size_) return;
    constexpr std::size_t line = 64, huge_page = std::size_t{2} << 20;
    const std::size_t alignment = size * sizeof(float) < huge_page ? line : huge_page;
    const std::size_t bytes = (size * sizeof(float) + alignment - 1) / alignment * alignment;
    data_.reset();
    size_ = 0;
    data_.reset(static_cast<float*>(std::aligned_alloc(alignment, bytes)));
    if (!data_) throw std::bad_alloc();
    // Page faults on small pages cost as much as packing a model's weights. A huge page for the tail would be a waste.
    if (alignment == huge_page) ::madvise(data_.get(), size * sizeof(float) / huge_page * huge_page, MADV_HUGEPAGE);
    size_ = size;
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(float* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<float[], Free> data_;
  std::size_t size_ = 0;
};

}  // namespace gondola
