#include "engine/calibration.h"

#include <algorithm>
#include <bit>

namespace gondola {
namespace {

/// The number of rows to keep: 256 give an output's mean error to within a sixteenth of the error's deviation.
constexpr std::size_t max_kept_rows = 256;

/// FNV-1a over the values, followed by MurmurHash3's finaliser to mix the bits.
std::uint64_t hash(const float* row, std::size_t width) {
  std::uint64_t state = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < width; ++i) state = (state ^ std::bit_cast<std::uint32_t>(row[i])) * 0x100000001b3;
  state = (state ^ state >> 33) * 0xff51afd7ed558ccd;
  state = (state ^ state >> 33) * 0xc4ceb9fe1a85ec53;
  return state ^ state >> 33;
}

}  // namespace

void LayerInputs::add(std::size_t rows, const float* in, std::size_t stride, std::size_t width) {
  if (rows == 0) return;
  std::vector<float> min(in, in + width), max = min;
  std::vector<std::uint64_t> hashes(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    const float* values = in + row * stride;
    for (std::size_t i = 0; i < width; ++i) {
      min[i] = std::min(min[i], values[i]);
      max[i] = std::max(max[i], values[i]);
    }
    hashes[row] = hash(values, width);
  }
  const std::lock_guard lock(mutex_);
  if (min_.empty()) {
    min_ = min;
    max_ = max;
  }
  for (std::size_t i = 0; i < width; ++i) {
    min_[i] = std::min(min_[i], min[i]);
    max_[i] = std::max(max_[i], max[i]);
  }
  for (std::size_t row = 0; row < rows; ++row) {
    if (kept_.size() == max_kept_rows && hashes[row] >= kept_.rbegin()->first) continue;
    kept_.try_emplace(hashes[row], in + row * stride, in + row * stride + width);
    if (kept_.size() > max_kept_rows) kept_.erase(std::prev(kept_.end()));
  }
}

std::vector<float> LayerInputs::max_deviation(std::span<const float> centre) const {
  std::vector<float> result(width());
  for (std::size_t i = 0; i < width(); ++i) result[i] = std::max(max_[i] - centre[i], centre[i] - min_[i]);
  return result;
}

std::vector<float> LayerInputs::rows() const {
  std::vector<float> all;
  for (const auto& [unused, row] : kept_) all.insert(all.end(), row.begin(), row.end());
  return all;
}

LayerInputs& Calibration::operator[](const std::string& weight) {
  const std::lock_guard lock(mutex_);
  return layers_[weight];
}

}  // namespace gondola
