#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace gondola {

/// A TensorBoard event file of scalars: TFRecords (length, masked CRC-32C, data, masked CRC-32C) of tensorflow.Event
/// messages.
class EventWriter {
 public:
  /// Creates folder/events.out.tfevents.TIME.gondola.
  explicit EventWriter(const std::filesystem::path& folder);
  void scalar(const std::string& tag, std::int64_t step, double value);

 private:
  void record(const std::string& event);
  std::ofstream out_;
};

/// CRC-32C (Castagnoli), as RFC 3720 defines it.
std::uint32_t crc32c(const std::string& bytes);

}  // namespace gondola
