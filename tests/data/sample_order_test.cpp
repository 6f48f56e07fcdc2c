#include "data/sample_order.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "tests/data/support.h"

namespace gondola {
namespace {

using testing::Each;

/// A data set whose samples have only positions.
class Places : public Dataset {
 public:
  explicit Places(std::vector<Part> parts) : parts_(std::move(parts)) {}
  std::size_t size() const override {
    std::size_t size = 0;
    for (const Part& part : parts_)
      for (std::size_t samples : part.shards) size += samples;
    return size;
  }
  std::vector<Part> parts() const override { return parts_; }
  void prefetch(const std::vector<std::size_t>& shards) const override { asked_for.push_back(shards); }
  Sample get(std::size_t) const override { return {}; }
  void for_each_caption(const std::function<void(std::string_view)>&) const override {}

  mutable std::vector<std::vector<std::size_t>> asked_for;

 private:
  std::vector<Part> parts_;
};

std::vector<std::size_t> epoch_of(const SampleOrder& order, std::uint64_t epoch) {
  std::vector<std::size_t> indices;
  for (std::size_t position = 0; position < order.size(); ++position)
    indices.push_back(order.at(epoch, position).index);
  return indices;
}

/// How often each sample of a data set occurs in the list.
std::vector<int> counts(const std::vector<std::size_t>& indices, std::size_t size) {
  std::vector<int> counted(size);
  for (std::size_t index : indices) ++counted.at(index);
  return counted;
}

TEST(RandomPermutation, MatchesThePythonReference) {
  const Json expected = test::expected_data();
  for (const Json& one : expected.at("orders"))
    EXPECT_EQ(random_permutation(one.at("size"), one.at("seed"), one.at("epoch")),
              one.at("order").get<std::vector<std::uint32_t>>());
}

TEST(RandomPermutation, IsAPermutationThatDiffersByEpoch) {
  const auto first = random_permutation(1000, 1, 0), second = random_permutation(1000, 1, 1);
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 1000u);
  EXPECT_EQ(*std::max_element(first.begin(), first.end()), 999u);
  EXPECT_NE(first, second);
}

TEST(SampleOrder, PermutesASetOfOneWindowAsAWhole) {
  for (const Part& part : {Part{{100}}, Part{{30, 20, 50}, 3}}) {
    const Places places({part});
    const SampleOrder order(places, 7);
    for (std::uint64_t epoch : {0, 1, 5}) {
      const auto expected = random_permutation(100, 7, epoch);
      EXPECT_EQ(epoch_of(order, epoch), std::vector<std::size_t>(expected.begin(), expected.end()));
      EXPECT_EQ(order.at(epoch, 3).pass, epoch);
    }
  }
}

TEST(SampleOrder, ShufflesShardsAndWindowsOfThem) {
  std::vector<std::size_t> shards;
  for (std::size_t i = 0; i < 23; ++i) shards.push_back(5 + i * 7 % 11);
  const Places places({{shards, 4}});
  const SampleOrder order(places, 3);
  std::vector<std::size_t> shard_of;
  for (std::size_t i = 0; i < shards.size(); ++i) shard_of.insert(shard_of.end(), shards[i], i);

  std::set<std::vector<std::size_t>> epochs;
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    const auto indices = epoch_of(order, epoch);
    epochs.insert(indices);
    EXPECT_THAT(counts(indices, places.size()), Each(1));
    // No shard is opened again once its window has passed: 23 shards make 6 windows of at most 4.
    std::set<std::size_t> open;
    std::vector<std::size_t> sizes;
    std::size_t samples = 0, seen = 0;
    for (std::size_t index : indices) {
      if (seen == samples) {
        sizes.push_back(open.size());
        open.clear();
        samples = seen = 0;
      }
      if (open.insert(shard_of[index]).second) samples += shards[shard_of[index]];
      ++seen;
    }
    EXPECT_EQ(seen, samples);
    sizes.push_back(open.size());
    EXPECT_GE(sizes.size(), 7u);  // the empty start, and at least six that a count can tell apart
    EXPECT_LE(*std::max_element(sizes.begin(), sizes.end()), 4u);
  }
  EXPECT_EQ(epochs.size(), 4u);
}

TEST(SampleOrder, DependsOnlyOnThePosition) {
  const Places places({{std::vector<std::size_t>(40, 9), 3}, {{100}, 1, 1.7}, {{11, 12, 13}, 2, 0.3}});
  const SampleOrder forwards(places, 5), random_access(places, 5);
  Random random(1);
  std::vector<std::vector<std::size_t>> epochs;
  for (std::uint64_t epoch = 0; epoch < 5; ++epoch) epochs.push_back(epoch_of(forwards, epoch));
  for (int i = 0; i < 3000; ++i) {
    const auto epoch = random.below(5), position = random.below(forwards.size());
    EXPECT_EQ(random_access.at(epoch, position).index, epochs[epoch][position]);
  }
}

TEST(SampleOrder, PrefetchesNoEmptyShards) {
  const Places places({{{3, 0, 4, 0}, 1}, {{2, 0}, 4}});  // the last shard would begin past the end
  const SampleOrder order(places, 1);
  epoch_of(order, 0);
  for (const auto& shards : places.asked_for)
    for (const std::size_t first : shards) EXPECT_TRUE(first == 0 || first == 3 || first == 7) << first;
}

TEST(SampleOrder, PrefetchesTheShardsThatComeNext) {
  const Places places({{std::vector<std::size_t>(12, 10), 3}});
  const SampleOrder order(places, 1);
  for (std::uint64_t epoch : {0, 1}) epoch_of(order, epoch);
  const auto asked_for = places.asked_for;
  ASSERT_EQ(asked_for.size(), 8u);  // once a window
  for (std::size_t i = 0; i < 8; ++i) {
    const auto& shards = asked_for[i];
    ASSERT_EQ(shards.size(), 6u);
    std::set<std::size_t> now;
    for (std::size_t k = 0; k < 30; ++k) now.insert(order.at(i / 4, i % 4 * 30 + k).index / 10 * 10);
    EXPECT_EQ(now, std::set<std::size_t>(shards.begin(), shards.begin() + 3)) << i;
    if (i < 7) {
      EXPECT_TRUE(std::equal(shards.begin() + 3, shards.end(), asked_for[i + 1].begin())) << i;
    }
  }
}

TEST(SampleOrder, MixesByWeight) {
  // 60 · 0.5 + 20 · 3 + 7 = 97 draws an epoch.
  const Places places({{{60}, 1, 0.5}, {{8, 12}, 1, 3}, {{7}}});
  const SampleOrder order(places, 2);
  ASSERT_EQ(order.size(), 97u);
  const auto first = epoch_of(order, 0), second = epoch_of(order, 1);
  auto all = first;
  all.insert(all.end(), second.begin(), second.end());
  std::vector<int> expected(60, 1);  // half of them in each of the epochs
  expected.resize(80, 6);
  expected.resize(87, 2);
  EXPECT_EQ(counts(all, 87), expected);
  expected.assign(60, 0);
  const auto once = counts(first, 87);
  EXPECT_EQ(std::count(once.begin(), once.begin() + 60, 1), 30);
  EXPECT_TRUE(std::all_of(once.begin() + 60, once.begin() + 80, [](int count) { return count == 3; }));

  // Every stretch of the epoch holds the parts in proportion.
  for (std::size_t position = 0; position + 10 <= 97; ++position) {
    int of_part[3] = {};
    for (std::size_t i = position; i < position + 10; ++i) ++of_part[first[i] < 60 ? 0 : first[i] < 80 ? 1 : 2];
    EXPECT_NEAR(of_part[0], 10 * 30 / 97.0, 1.5) << position;
    EXPECT_NEAR(of_part[1], 10 * 60 / 97.0, 2) << position;
    EXPECT_NEAR(of_part[2], 10 * 7 / 97.0, 1.5) << position;
  }

  // A sample that an epoch draws three times belongs to three passes, each of which has draws of its own.
  std::set<std::pair<std::size_t, std::uint64_t>> draws;
  for (std::uint64_t epoch : {0, 1})
    for (std::size_t position = 0; position < 97; ++position) {
      const Draw draw = order.at(epoch, position);
      EXPECT_TRUE(draws.emplace(draw.index, draw.pass).second);
    }
}

TEST(SampleOrder, RefusesImpossibleWeights) {
  for (double weight : {0.0, 0.01, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    const Places places({{{10}, 1, weight}});
    EXPECT_THROW(SampleOrder(places, 0), Error);
  }
}

TEST(SampleOrder, ReshufflesWindowsAndTheirSamplesEachEpoch) {
  const Places places({{std::vector<std::size_t>(12, 10), 3}});
  const SampleOrder order(places, 1);
  std::set<std::set<std::size_t>> first_windows;
  std::set<std::vector<std::size_t>> within;
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    std::set<std::size_t> shards;
    std::vector<std::size_t> samples;
    for (std::size_t i = 0; i < 30; ++i) {
      const std::size_t index = order.at(epoch, i).index;
      shards.insert(index / 10);
      samples.push_back(index % 10);
    }
    first_windows.insert(shards);
    within.insert(samples);
  }
  EXPECT_GT(first_windows.size(), 2u);
  EXPECT_EQ(within.size(), 4u);
}

TEST(SampleOrder, ShufflesEachPartIndependently) {
  const Places places({{{100}}, {{100}}});
  const SampleOrder order(places, 1);
  std::array<std::vector<std::size_t>, 2> parts;
  for (std::size_t i = 0; i < 200; ++i) {
    const std::size_t index = order.at(0, i).index;
    parts[index / 100].push_back(index % 100);
  }
  EXPECT_NE(parts[0], parts[1]);
}

}  // namespace
}  // namespace gondola
