#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace gondola {

/// What one linear layer reads while a model runs: the least and the largest value of each channel, and some of the
/// rows. Which rows are kept depends on their values alone, not on the order in which threads bring them.
class LayerInputs {
 public:
  /// Any thread may call.
  void add(std::size_t rows, const float* in, std::size_t stride, std::size_t width);

  std::size_t width() const { return least_.size(); }
  /// The largest distance of each channel from a centre, one value a channel.
  std::vector<float> reach(std::span<const float> centre) const;
  /// kept rows × width
  std::vector<float> rows() const;

 private:
  std::mutex mutex_;
  std::vector<float> least_, largest_;
  std::map<std::uint64_t, std::vector<float>> kept_;  ///< by hash, the smallest ones
};

/// The inputs of a model's linear layers, by the full name of their weight.
class Calibration {
 public:
  /// Any thread may call; the result stays where it is.
  LayerInputs& operator[](const std::string& weight);

 private:
  std::mutex mutex_;
  std::map<std::string, LayerInputs> layers_;
};

}  // namespace gondola
