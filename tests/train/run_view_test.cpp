#include "train/run_view.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <pty.h>
#include <unistd.h>

#include "base/streams.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::Not;

const StepMetrics step_1200 = {.step = 1200,
                               .loss = 2.34567,
                               .learning_rate = 4.9e-4,
                               .scale = 14.29,
                               .gradient_norm = 0.8123,
                               .skipped = 3,
                               .samples_per_second = 245.3,
                               .loader_wait = 0.012,
                               .mfu = 0.384};

TEST(RunView, SaysHowTheRunIsDoing) {
  const auto lines = view_lines(step_1200, 10000, 3900, 80);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "step 1200/10000  ━━────────────────── 12 %  1 h 05 min left");
  EXPECT_EQ(lines[1], "loss 2.3457  scale 14.29  gradient 0.812  rate 4.90e-04  skipped 3");
  EXPECT_EQ(lines[2], "245.3 samples/s  MFU 38.4 %  waiting for data 1 %");
  EXPECT_EQ(view_lines(step_1200, 10000, 3900, 20)[0], "step 1200/10000  ━━─");
}

/// What precedes the first step does not count: a validation, a trace, measuring the peak.
TEST(RunView, CountsTheTimeLeftFromTheFirstStep) {
  const test::TemporaryFolder folder;
  std::FILE* out = std::fopen((folder.path() / "log").c_str(), "w");
  {
    RunView view(1000, 1600, out);
    const auto now = RunView::Clock::now() + std::chrono::hours(1);
    view.begin(now);
    view.step(step_1200, now + std::chrono::seconds(40));
  }
  std::fclose(out);
  EXPECT_THAT(read_file(folder.path() / "log"), HasSubstr("1 min 20 s left"));
}

/// What the view writes into a pseudo-terminal.
std::string drawn(const std::vector<StepMetrics>& steps, const std::string& message) {
  int reader = 0, writer = 0;
  EXPECT_EQ(::openpty(&reader, &writer, nullptr, nullptr, nullptr), 0);
  std::FILE* out = ::fdopen(writer, "w");
  {
    RunView view(0, 10000, out);
    auto now = RunView::Clock::now();
    for (const StepMetrics& step : steps) view.step(step, now += std::chrono::seconds(1));
    view.message(message);
  }
  std::fclose(out);
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(reader, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  ::close(reader);
  return text;
}

TEST(RunView, RedrawsInPlaceOnATerminal) {
  StepMetrics later = step_1200;
  later.step = 1300;
  const std::string text = drawn({step_1200, later}, "validated");
  EXPECT_THAT(text, HasSubstr("step 1200/10000"));
  EXPECT_THAT(text, HasSubstr("step 1300/10000"));
  EXPECT_THAT(text, HasSubstr("\x1b[3A"));
  EXPECT_LT(text.find("\x1b[Jvalidated"), text.rfind("step 1300"));  // above the view, which is drawn again
}

/// The time left is estimated from the run's own steps.
TEST(RunView, PrintsALineEveryHalfMinuteWithoutATerminal) {
  using namespace std::chrono_literals;
  const test::TemporaryFolder folder;
  std::FILE* out = std::fopen((folder.path() / "log").c_str(), "w");
  {
    RunView view(1100, 1300, out);
    const auto start = RunView::Clock::now();
    view.step(step_1200, start + 20s);
    view.message("validated \x1b]0;name\a");
    view.step(step_1200, start + 1h);
    view.step(step_1200, start + 1h + 29s);
  }
  std::fclose(out);
  const auto lines = view_lines(step_1200, 1300, 3600, 200);
  EXPECT_EQ(read_file(folder.path() / "log"),
            fmt::format("{}\n{}  {}  {}\n", printable("validated \x1b]0;name\a"), lines[0], lines[1], lines[2]));
}

}  // namespace
}  // namespace gondola
