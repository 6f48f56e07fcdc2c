#include "base/progress.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace gondola {
namespace {

TEST(FormatDuration, UsesTwoUnits) {
  EXPECT_EQ(format_duration(0), "0 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(200), "3 min 20 s");
  EXPECT_EQ(format_duration(3900), "1 h 05 min");
  EXPECT_EQ(format_duration(100 * 3600), "100 h 00 min");
}

TEST(Progress, StaysSilentAtFirstWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("images", 10, "done");
    progress.update(5);
    progress.update(10);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Progress, PrintsOccasionalLinesWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("images", 10, "done", std::chrono::milliseconds(0));
    progress.update(5);
    progress.update(6);
  }
  const std::string lines = testing::internal::GetCapturedStderr();
  EXPECT_EQ(lines.substr(0, 17), "images 5/10 done ");
  EXPECT_NE(lines.find("\nimages 6/10 done"), std::string::npos) << lines;
  EXPECT_TRUE(lines.ends_with(" left\n")) << lines;
}

TEST(FirstCodePoints, AreNeverSplit) {
  EXPECT_EQ(first_code_points("a\u00e9\u4e2d\U0001f408z", 4), "a\u00e9\u4e2d\U0001f408");
  EXPECT_EQ(first_code_points("a\u00e9", 1), "a");
  EXPECT_EQ(first_code_points("a\u00e9", 9), "a\u00e9");
  EXPECT_EQ(first_code_points("", 3), "");
}

}  // namespace
}  // namespace gondola
