#include "metrics/metrics.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using test::golden;
using test::read_npy;

constexpr std::size_t labels = 7, templates = 3, dim = 37, images = 40;

std::vector<float> golden_values(const std::string& name) {
  return read_npy<float>(golden("metrics/" + name + ".npy")).values;
}

Json expected() {
  return parse_json(read_file(golden("metrics/expected.json")), "expected.json");
}

void expect_near(std::span<const float> found, std::span<const float> wanted, double tolerance) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], wanted[i], tolerance) << "at " << i;
}

TEST(Template, PutsTheLabelIntoEveryPlaceholder) {
  EXPECT_EQ(fill_template("a photo of a {}.", "red {} panda"), "a photo of a red {} panda.");
  EXPECT_EQ(fill_template("{}, {}", "x"), "x, x");
  EXPECT_THROW(fill_template("a photo", "x"), Error);
}

TEST(Normalise, GivesUnitRowsAndLeavesZeroRows) {
  std::vector<float> rows = {3, 4, 0, 0, 1e-30f, 0, 1e30f, -1e30f};
  normalise_rows(rows, 2);
  const float half_root = std::sqrt(0.5f);
  expect_near(rows, std::vector<float>{0.6f, 0.8f, 0, 0, 1, 0, half_root, -half_root}, 1e-7);
}

TEST(ZeroShotHead, MatchesNumPy) {
  expect_near(zero_shot_head(golden_values("prompts"), templates, dim), golden_values("head"), 1e-7);
}

TEST(ZeroShotHead, RefusesAnIncompleteSetOfPrompts) {
  EXPECT_THROW(zero_shot_head(std::vector<float>(10), 2, 3), Error);
  EXPECT_THROW(zero_shot_head(std::vector<float>(10), 0, 5), Error);
}

TEST(Similarities, MatchNumPy) {
  std::vector<float> rows = golden_values("images");
  normalise_rows(rows, dim);
  expect_near(similarities(rows, golden_values("head"), dim), golden_values("cosines"), 1e-6);
}

TEST(Softmax, MatchesNumPy) {
  const std::vector<float> cosines = golden_values("cosines"), wanted = golden_values("scores");
  for (std::size_t row = 0; row < images; ++row) {
    const std::vector<double> scores = softmax(std::span(cosines).subspan(row * labels, labels), 20);
    for (std::size_t i = 0; i < labels; ++i) EXPECT_NEAR(scores[i], wanted[row * labels + i], 1e-6);
  }
}

TEST(Softmax, HandlesLargeScales) {
  const std::vector<double> scores = softmax(std::vector<float>{1, -1, 1}, 1e5);
  EXPECT_THAT(scores, testing::ElementsAre(0.5, 0, 0.5));
  EXPECT_TRUE(softmax({}, 1).empty());
}

TEST(TopK, OrdersLikeAStableSort) {
  const std::vector<float> ties = golden_values("ties");
  const Json order = expected().at("order");
  for (std::size_t row = 0; row < images; ++row) {
    const std::vector<double> values(ties.begin() + row * labels, ties.begin() + (row + 1) * labels);
    auto wanted = order.at(row).get<std::vector<std::size_t>>();
    EXPECT_EQ(top_k(values, 100), wanted);
    wanted.resize(3);
    EXPECT_EQ(top_k(values, 3), wanted);
  }
}

TEST(TopK, RanksNanLast) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(top_k(std::vector<double>{nan, -1, nan, 5}, 3), testing::ElementsAre(3, 1, 0));
}

TEST(TopKAccuracy, MatchesNumPy) {
  const Json wanted = expected();
  const auto truth = wanted.at("labels").get<std::vector<int>>();
  for (std::size_t k = 0; k <= labels; ++k)
    EXPECT_DOUBLE_EQ(top_k_accuracy(golden_values("ties"), truth, labels, k), wanted.at("top_k_accuracy").at(k));
}

TEST(TopKAccuracy, RefusesWrongLabelsAndSizes) {
  EXPECT_THROW(top_k_accuracy(std::vector<float>(6), std::vector<int>{0, 3}, 3, 1), Error);
  EXPECT_THROW(top_k_accuracy(std::vector<float>(6), std::vector<int>{0, -1}, 3, 1), Error);
  EXPECT_THROW(top_k_accuracy(std::vector<float>(5), std::vector<int>{0, 1}, 3, 1), Error);
}

TEST(Recall, MatchesNumPy) {
  const Json wanted = expected();
  const auto relevant = wanted.at("relevant").get<std::vector<std::vector<int>>>();
  for (std::size_t k = 0; k <= labels; ++k)
    EXPECT_DOUBLE_EQ(recall_at_k(golden_values("ties"), relevant, labels, k), wanted.at("recall_at_k").at(k));
}

TEST(Recall, RefusesUnknownItems) {
  for (const std::vector<int>& items : {std::vector{3}, std::vector{0, 3}, std::vector{0, -1}})
    EXPECT_THROW(recall_at_k(std::vector<float>(3), std::vector<std::vector<int>>{items}, 3, 1), Error);
}

/// A broken model may produce NaN.
TEST(NotANumber, IsNeverTheBestAnswer) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(top_k_accuracy(std::vector<float>{nan, 0.1f}, std::vector<int>{0}, 2, 1), 0);
  EXPECT_EQ(top_k_accuracy(std::vector<float>{nan, nan}, std::vector<int>{1}, 2, 1), 0);
  EXPECT_EQ(recall_at_k(std::vector<float>{nan, 0.1f}, std::vector<std::vector<int>>{{0}}, 2, 1), 0);
}

TEST(Similarities, RefuseIncompleteRows) {
  EXPECT_THROW(similarities(std::vector<float>(4), std::vector<float>(5), 2), Error);
  EXPECT_THROW(similarities(std::vector<float>(5), std::vector<float>(4), 2), Error);
  EXPECT_THROW(recall_at_k(std::vector<float>(7), std::vector<std::vector<int>>{{0}, {1}}, 3, 1), Error);
}

}  // namespace
}  // namespace gondola
