#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace gondola {

/// Statistics of one linear layer's inputs while a model runs: the minimum and maximum of each channel, and a sample of
/// the rows. The sample depends only on the rows' values, not on the order in which threads add them.
class LayerInputs {
 public:
  /// Thread-safe.
  void add(std::size_t rows, const float* in, std::size_t stride, std::size_t width);

  std::size_t width() const { return min_.size(); }
  /// The largest distance of each channel from `centre`, one value per channel.
  std::vector<float> max_deviation(std::span<const float> centre) const;
  /// kept rows × width
  std::vector<float> rows() const;

 private:
  std::mutex mutex_;
  std::vector<float> min_, max_;
  std::map<std::uint64_t, std::vector<float>> kept_;  ///< the rows with the smallest hashes, by hash
};

/// The inputs of a model's linear layers, keyed by the full name of the weight.
class Calibration {
 public:
  /// Thread-safe; the reference stays valid.
  LayerInputs& operator[](const std::string& weight);

 private:
  std::mutex mutex_;
  std::map<std::string, LayerInputs> layers_;
};

}  // namespace gondola
