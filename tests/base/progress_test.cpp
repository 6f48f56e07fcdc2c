#include "base/progress.h"

#include <gtest/gtest.h>

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

TEST(Progress, IsSilentForAWhileWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("images", 10, "done");
    progress.update(5);
    progress.update(10, "note");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace gondola
