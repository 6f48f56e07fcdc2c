#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace gondola {

/// A progress line on stderr with rate and time left: redrawn in place at most ten times a second or, if stderr is not
/// a terminal, printed at intervals.
class Progress {
 public:
  /// `total` is 0 if it is not known.
  Progress(std::string label, std::uint64_t total, std::string unit,
           std::chrono::milliseconds log_interval = std::chrono::seconds(30));
  ~Progress();
  void update(std::uint64_t done);
  /// Clears the line, so that something else can be printed.
  void clear();

 private:
  std::string label_, unit_;
  std::uint64_t total_;
  std::optional<std::uint64_t> first_;
  bool shown_ = false, terminal_;
  std::chrono::milliseconds interval_;
  std::chrono::steady_clock::time_point start_, last_;
};

/// "1 h 05 min", "3 min 20 s", "12 s".
std::string format_duration(double seconds);

}  // namespace gondola
