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
  /// Creates folder/events.out.tfevents.TIME.gondola, for the steps after `first_step`. TensorBoard drops what earlier
  /// files say of these: a run that was killed goes on from its last checkpoint.
  EventWriter(const std::filesystem::path& folder, std::int64_t first_step);
  void scalar(const std::string& tag, std::int64_t step, double value);

 private:
  void record(const std::string& event);
  std::ofstream out_;
};

/// CRC-32C (Castagnoli), as RFC 3720 defines it.
std::uint32_t crc32c(const std::string& bytes);

}  // namespace gondola
