#include "base/spelling.h"

#include <gtest/gtest.h>

namespace gondola {
namespace {

TEST(Spelling, DistanceCountsLetters) {
  EXPECT_EQ(spelling_distance("labels", "labels"), 0u);
  EXPECT_EQ(spelling_distance("", "abc"), 3u);
  EXPECT_EQ(spelling_distance("abc", ""), 3u);
  EXPECT_EQ(spelling_distance("lables", "labels"), 1u);  // two letters exchanged
  EXPECT_EQ(spelling_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(spelling_distance("ca", "abc"), 3u);  // exchanged letters are not edited again: 2 without that rule
}

TEST(Spelling, SuggestsWhatIsNear) {
  const std::vector<std::string> known = {"match", "embed", "classify", "train", "a"};
  EXPECT_EQ(spelling_suggestion("clasify", known), "; did you mean classify?");
  EXPECT_EQ(spelling_suggestion("brain", known), "; did you mean train?");
  EXPECT_EQ(spelling_suggestion("search", known), "");
  EXPECT_EQ(spelling_suggestion("b", known), "");
  EXPECT_EQ(spelling_suggestion("", known), "");
}

}  // namespace
}  // namespace gondola
