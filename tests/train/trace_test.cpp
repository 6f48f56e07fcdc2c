#include "train/trace.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

TEST(Trace, HoldsTheEventsOfAllRanksInChromesFormat) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "trace.json";
  const Trace::Clock::time_point start{std::chrono::microseconds(5'000'000)};
  {
    Trace first(file, 0), second(file, 1);
    second.record("bucket", Trace::Row::network, start, start + std::chrono::milliseconds(3));
    const Trace::Span span(&first, "backward");
    const Trace::Span nothing(nullptr, "backward");
  }
  std::string text = read_file(file);
  ASSERT_TRUE(text.ends_with(",\n"));
  const Json events = Json::parse(text.replace(text.size() - 2, 2, "]"));
  ASSERT_EQ(events.size(), 8u);  // three names a rank
  const Json& bucket = events[6];
  EXPECT_EQ(bucket, Json::parse(R"({"name": "bucket", "ph": "X", "pid": 1, "tid": 1, "ts": 5e6, "dur": 3e3})"));
  EXPECT_EQ(events[7].at("name"), "backward");
  EXPECT_EQ(events[7].at("pid"), 0);
  EXPECT_EQ(events[7].at("tid"), 0);
}

}  // namespace
}  // namespace gondola
