#include "train/run_view.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/streams.h"
#include "base/utf8.h"

namespace gondola {
namespace {

std::string bar(double done, std::size_t width) {
  const auto full = static_cast<std::size_t>(done * static_cast<double>(width));
  std::string text;
  for (std::size_t i = 0; i < width; ++i) text += i < full ? "━" : "─";
  return text;
}

}  // namespace

std::vector<std::string> view_lines(const StepMetrics& metrics, std::int64_t last_step, double seconds_left,
                                    std::size_t width) {
  const double done = last_step > 0 ? static_cast<double>(metrics.step) / static_cast<double>(last_step) : 1;
  std::string learning = fmt::format("loss {:.4f}  scale {:.2f}  gradient {:.3g}  rate {:.2e}", metrics.loss,
                                     metrics.scale, metrics.gradient_norm, metrics.learning_rate);
  if (metrics.skipped > 0) learning += fmt::format("  skipped {}", metrics.skipped);
  std::vector<std::string> lines = {
      fmt::format("step {}/{}  {} {:.0f} %  {} left", metrics.step, last_step, bar(done, 20), 100 * done,
                  format_duration(seconds_left)),
      learning,
      fmt::format("{:.4g} samples/s  MFU {:.1f} %  waiting for data {:.0f} %", metrics.samples_per_second,
                  100 * metrics.mfu, 100 * metrics.loader_wait)};
  for (std::string& line : lines) line = first_code_points(line, width);
  return lines;
}

RunView::RunView(std::int64_t first_step, std::int64_t last_step, std::FILE* out)
    : first_(first_step),
      last_(last_step),
      out_(out),
      terminal_(::isatty(::fileno(out)) == 1),
      start_(Clock::now()),
      last_draw_(start_) {}

RunView::~RunView() {
  if (!drawn_.empty()) print(std::string(drawn_.size(), '\n'));
}

void RunView::step(const StepMetrics& metrics, Clock::time_point now) {
  const auto interval = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(30);
  if (now - last_draw_ < interval && !(terminal_ && (metrics.step == last_ || drawn_.empty()))) return;
  last_draw_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double left = seconds / static_cast<double>(metrics.step - first_) * static_cast<double>(last_ - metrics.step);
  if (terminal_) {
    draw(view_lines(metrics, last_, left, terminal_width(out_)));
  } else {
    std::string line;
    for (const std::string& part : view_lines(metrics, last_, left, 200)) line += (line.empty() ? "" : "  ") + part;
    print(line + "\n");
  }
}

void RunView::message(const std::string& line) {
  if (!drawn_.empty()) print("\r\x1b[J");
  print(printable(line) + "\n");
  if (!drawn_.empty()) draw(drawn_);
}

/// Ignores errors: a run goes on even if nobody can see it, as when the disk of its log is full.
void RunView::print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), out_);
}

/// The cursor stays at the first line, so that what others print (a sample that cannot be read) pushes the view down.
void RunView::draw(const std::vector<std::string>& lines) {
  std::string text = "\r";
  for (const std::string& line : lines) text += line + "\x1b[K\n";
  print(fmt::format("{}\x1b[{}A", text, lines.size()));
  std::fflush(out_);
  drawn_ = lines;
}

}  // namespace gondola
