#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <utility>

#include "base/streams.h"
#include "base/utf8.h"

namespace gondola {

Progress::Progress(std::string label, std::uint64_t total, std::string unit, std::chrono::milliseconds log_interval)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      interval_(terminal_ ? std::chrono::milliseconds(100) : log_interval),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (shown_) print_error_line("");
}

void Progress::clear() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  shown_ = false;
}

void Progress::update(std::uint64_t done) {
  if (!first_) first_ = done;  // resumed work must not count in the rate
  const auto now = std::chrono::steady_clock::now();
  const bool complete = total_ != 0 && done == total_;
  if (now - last_ < interval_ && !(terminal_ && (complete || !shown_))) return;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done - *first_) / seconds : 0;
  std::string line = fmt::format("{} {}", label_, done);
  if (total_ != 0) line += fmt::format("/{}", total_);
  line += fmt::format(" {} · {:.1f}/s", unit_, rate);
  if (total_ > done && rate > 0)
    line += fmt::format(" · {} left", format_duration(static_cast<double>(total_ - done) / rate));
  last_ = now;
  if (!terminal_) return print_error_line(line);
  std::fputs(("\r\x1b[K" + first_code_points(line, terminal_width(stderr))).c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

std::string format_duration(double seconds) {
  const auto total = static_cast<std::uint64_t>(std::llround(seconds));
  if (total < 60) return fmt::format("{} s", total);
  if (total < 3600) return fmt::format("{} min {:02} s", total / 60, total % 60);
  return fmt::format("{} h {:02} min", total / 3600, total / 60 % 60);
}

}  // namespace gondola
