#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "train/step_metrics.h"

namespace gondola {

/// Shows the progress of a run: on a terminal, a few lines that are redrawn in place, with messages scrolling above
/// them; elsewhere, a plain line every half minute.
class RunView {
 public:
  using Clock = std::chrono::steady_clock;

  /// Covers the steps after `first_step` up to `last_step`.
  RunView(std::int64_t first_step, std::int64_t last_step, std::FILE* out = stderr);
  /// Leaves the last metrics on a terminal.
  ~RunView();

  /// Starts the clock from which the time left is estimated.
  void begin(Clock::time_point now = Clock::now()) { start_ = now; }

  /// Shows the metrics if an update is due.
  void step(const StepMetrics& metrics, Clock::time_point now = Clock::now());

  /// Prints a line that stays: "validation  photos.csv  zero_shot_top1 29.40".
  void message(const std::string& line);

 private:
  void print(const std::string& text);
  void draw(const std::vector<std::string>& lines);

  std::int64_t first_, last_;
  std::FILE* out_;
  bool terminal_;
  Clock::time_point start_, last_draw_;
  std::vector<std::string> drawn_;
};

/// The view's lines, none longer than `width` characters: progress, learning, speed.
std::vector<std::string> view_lines(const StepMetrics& metrics, std::int64_t last_step, double seconds_left,
                                    std::size_t width);

}  // namespace gondola
