#include "train/loader.h"

#include <gtest/gtest.h>

#include <ATen/ops/sum.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "tests/support/files.h"

namespace gondola {
namespace {

/// An epoch of one batch puts the loader's threads into different epochs at once; every batch is a whole epoch all the
/// same.
TEST(Loader, GivesEverySampleOnceAnEpochHoweverShort) {
  const test::TemporaryFolder folder;
  {
    std::ofstream table(folder.path() / "pairs.csv");
    table << "image,caption\n";
    for (int i = 0; i < 8; ++i)
      table << (test::golden("train") / "vit" / "images" / fmt::format("{}.png", i)).string() << ",caption " << i
            << '\n';
  }
  Recipe recipe;
  recipe.batch_size = 8;
  recipe.preprocess.size = 16;
  recipe.augment.min_crop_area = 1;
  recipe.augment.max_aspect_ratio = 1;
  recipe.model.text.context_length = 77;
  recipe.model.text.causal = true;
  const auto dataset = open_dataset(folder.path() / "pairs.csv", {});
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));

  std::set<std::vector<double>> epochs;  // sums of pixels, sorted: the pictures of an epoch
  std::set<std::vector<double>> orders;
  Loader loader(*dataset, tokenizer, recipe, 0, 300);
  for (int step = 0; step < 300; ++step) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.ids.size(0), 8) << "step " << step;
    std::vector<double> sums;
    for (int i = 0; i < 8; ++i) sums.push_back(batch.pixels[i].to(at::kDouble).sum().item<double>());
    orders.insert(sums);
    std::sort(sums.begin(), sums.end());
    epochs.insert(sums);
  }
  EXPECT_EQ(epochs.size(), 1u);
  EXPECT_GT(orders.size(), 250u);  // of 40,320
}

}  // namespace
}  // namespace gondola
