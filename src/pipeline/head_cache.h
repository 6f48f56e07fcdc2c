#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/loaded_model.h"

namespace gondola {

/// Describes in words everything that the weights of a zero-shot classifier depend on: the model's weights, the text
/// tower's configuration, the vocabulary, precision, instruction set, the build that computes, and the prompts. The
/// model's weights are identified by their file's size and time and by samples of each tensor, so that a file of half a
/// gigabyte need not be read. Returns nothing when any of these is unknown, e.g. because a file was removed.
std::optional<std::string> head_key(const LoadedModel& model, std::span<const std::string> labels,
                                    std::span<const std::string> templates, Overflow overflow);

/// The weights of zero-shot classifiers on disk, one file each. Several processes may share the folder: a file appears
/// complete, is checked when it is read, and is ignored when it is damaged. The least recently used files are removed
/// when their total size exceeds the limit.
class HeadCache {
 public:
  explicit HeadCache(std::filesystem::path folder, std::uint64_t limit_bytes = std::uint64_t{256} << 20);

  /// Returns what is stored under this key if it has `values` values, otherwise nothing.
  std::optional<std::vector<float>> find(const std::string& key, std::size_t values) const;

  /// Stores a classifier's weights. A failure, such as a folder that cannot be written to, does no harm.
  void store(const std::string& key, std::span<const float> head) const;

 private:
  std::filesystem::path file_of(const std::string& key) const;
  void remove_oldest() const;

  std::filesystem::path folder_;
  std::uint64_t limit_bytes_;
};

}  // namespace gondola
