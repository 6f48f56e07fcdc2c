#include "train/run_view.h"

#include <gmock/gmock.h>
#include <pty.h>
#include <unistd.h>

#include <thread>

#include "tests/support/files.h"
#include "train/throughput.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::Not;

const StepFigures figures = {.step = 1200,
                             .loss = 2.34567,
                             .learning_rate = 4.9e-4,
                             .scale = 14.29,
                             .gradient_norm = 0.8123,
                             .skipped = 3,
                             .samples_per_second = 245.3,
                             .loader_wait = 0.012,
                             .mfu = 0.384};

TEST(RunView, SaysHowTheRunIsDoing) {
  const auto lines = view_lines(figures, 10000, 3900, 80);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "step 1200/10000  ━━────────────────── 12 %  1 h 05 min left");
  EXPECT_EQ(lines[1], "loss 2.3457  scale 14.29  gradient 0.812  rate 4.90e-04  skipped 3");
  EXPECT_EQ(lines[2], "245.3 samples/s  MFU 38.4 %  waiting for data 1 %");
  EXPECT_EQ(view_lines(figures, 10000, 3900, 20)[0], "step 1200/10000  ━━─");
}

/// What the view writes into a pseudo-terminal.
std::string drawn(const std::vector<StepFigures>& steps, const std::string& message) {
  int reader = 0, writer = 0;
  EXPECT_EQ(::openpty(&reader, &writer, nullptr, nullptr, nullptr), 0);
  std::FILE* out = ::fdopen(writer, "w");
  {
    RunView view(0, 10000, out);
    for (const StepFigures& step : steps) {
      view.step(step);
      std::this_thread::sleep_for(std::chrono::milliseconds(210));
    }
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
  StepFigures later = figures;
  later.step = 1300;
  const std::string text = drawn({figures, later}, "validated");
  EXPECT_THAT(text, HasSubstr("step 1200/10000"));
  EXPECT_THAT(text, HasSubstr("step 1300/10000"));
  EXPECT_THAT(text, HasSubstr("\x1b[3A"));
  EXPECT_LT(text.find("\x1b[Jvalidated"), text.rfind("step 1300"));  // above the view, which is drawn again
}

TEST(RunView, IsPlainElsewhere) {
  const test::TemporaryFolder folder;
  std::FILE* out = std::fopen((folder.path() / "log").c_str(), "w");
  {
    RunView view(0, 10000, out);
    view.step(figures);  // not yet due
    view.message("validated");
  }
  std::fclose(out);
  EXPECT_EQ(read_file(folder.path() / "log"), "validated\n");
}

TEST(TrainingFlops, AreThreeForwardPassesAndOneOfALockedTower) {
  Recipe recipe;
  recipe.model = preset("ViT-B-32");
  // open_clip's model_profile.csv: 8.82 and 5.96 GFLOPs
  EXPECT_NEAR(training_flops(recipe, 10, 10, 77) / 1e9, 30 * (8.82 + 5.96), 0.4);
  EXPECT_NEAR(training_flops(recipe, 10, 0, 77) / 1e9, 30 * 8.82, 0.2);
  EXPECT_LT(training_flops(recipe, 0, 10, 10), 0.14 * training_flops(recipe, 0, 10, 77));
  recipe.patch_dropout = 0.5;
  EXPECT_NEAR(training_flops(recipe, 10, 0, 77) / 1e9, 15 * 8.82, 0.2);
  recipe.patch_dropout = 0;
  recipe.lock_image = true;
  EXPECT_NEAR(training_flops(recipe, 10, 10, 77) / 1e9, 10 * 8.82 + 30 * 5.96, 0.4);
}

TEST(PeakFlops, AreMeasuredOrGiven) {
  Recipe recipe;
  EXPECT_GT(peak_flops(recipe), 1e9);
  recipe.peak_tflops = 989;
  EXPECT_DOUBLE_EQ(peak_flops(recipe), 989e12);
}

}  // namespace
}  // namespace gondola
