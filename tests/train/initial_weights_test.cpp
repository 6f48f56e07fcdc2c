#include "train/initial_weights.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "base/json.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

TEST(ResizePositions, MatchesOpenClip) {
  const Json parts = parse_json(read_file(test::golden("train/parts.json")), "parts.json");
  const auto tensor = [&](const char* name) {
    const auto values = parts.at(name).at("values").get<std::vector<double>>();
    return torch::tensor(values, torch::kDouble).view(parts.at(name).at("shape").get<std::vector<std::int64_t>>());
  };
  const auto positions = tensor("positions");
  EXPECT_TRUE(torch::allclose(resize_positions(positions, 5), tensor("enlarged"), 0, 1e-8));
  EXPECT_TRUE(torch::allclose(resize_positions(positions, 2), tensor("reduced"), 0, 1e-8));
  EXPECT_TRUE(torch::equal(resize_positions(positions, 3), positions));
}

}  // namespace
}  // namespace gondola
