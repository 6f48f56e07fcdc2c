#include "train/loader.h"

#include <gmock/gmock.h>

#include <ATen/ops/all.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/sum.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

/// Eight pictures with a caption each; picture `broken` does not exist.
fs::path eight_pairs(const fs::path& folder, int broken = -1) {
  std::ofstream table(folder / "pairs.csv");
  table << "image,caption\n";
  for (int i = 0; i < 8; ++i)
    table << (test::golden("train") / "vit" / "images" / fmt::format("{}.png", i == broken ? 99 : i)).string()
          << ",caption " << i % 5 << '\n';
  return folder / "pairs.csv";
}

Recipe loader_recipe() {
  Recipe recipe;
  recipe.batch_size = 8;
  recipe.preprocess.size = 16;
  recipe.augment = {{.min_crop_area = 1, .max_aspect_ratio = 1}};
  recipe.model.text.context_length = 77;
  recipe.model.text.causal = true;
  return recipe;
}

/// Epochs of one batch put the loader's threads into different epochs at once; every batch must still be a whole epoch.
TEST(Loader, GivesEverySampleOnceAnEpochHoweverShort) {
  const test::TemporaryFolder folder;
  const Recipe recipe = loader_recipe();
  const auto dataset = open_dataset(eight_pairs(folder.path()));
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));

  std::set<std::vector<double>> epochs;  // sums of pixels, sorted: the pictures of an epoch
  std::set<std::vector<double>> orders;
  Loader loader(*dataset, tokenizer, recipe, 0, 300);
  for (int step = 0; step < 300; ++step) {
    const Batch batch = loader.next().value();
    ASSERT_EQ(batch.ids.size(0), 5) << "step " << step;
    std::vector<double> sums;
    for (int i = 0; i < 8; ++i) sums.push_back(batch.pixels[i].to(at::kDouble).sum().item<double>());
    orders.insert(sums);
    std::sort(sums.begin(), sums.end());
    epochs.insert(sums);
  }
  EXPECT_EQ(epochs.size(), 1u);
  EXPECT_GT(orders.size(), 250u);  // of 40,320
}

TEST(Tokenise, PadsToTheLongest) {
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});
  TextTowerConfig text;
  text.context_length = 7;
  text.pad_id = 3;
  const std::vector<std::string> texts = {"a", "abc"};
  const auto to_longest = tokenise(tokenizer, text, texts);
  EXPECT_EQ(to_longest.size(1), 5);
  EXPECT_EQ(to_longest[0][2].item<int>(), tokenizer.end_id());
  EXPECT_EQ(to_longest[0][3].item<int>(), 3);
}

/// Cuts to the start token, as many tokens as fit, and the end token.
TEST(Loader, CutsLongCaptions) {
  const test::TemporaryFolder folder;
  std::ofstream table(folder.path() / "pairs.csv");
  table << "image,caption\n";
  for (int i = 0; i < 2; ++i)
    table << (test::golden("train") / "vit" / "images" / "0.png").string() << ',' << std::string(300, 'z') << '\n';
  table.close();
  Recipe recipe = loader_recipe();
  recipe.batch_size = 1;
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const auto dataset = open_dataset((folder.path() / "pairs.csv").string());
  const at::Tensor ids = Loader(*dataset, tokenizer, recipe, 0, 1).next().value().ids;
  ASSERT_EQ(ids.size(1), recipe.model.text.context_length);
  const std::vector<std::int64_t> row(ids.data_ptr<std::int64_t>(), ids.data_ptr<std::int64_t>() + ids.size(1));
  EXPECT_EQ(row.front(), tokenizer.start_id());
  EXPECT_EQ(row.back(), tokenizer.end_id());
  EXPECT_EQ(std::set(row.begin(), row.end()).size(), 3u) << "a letter is a token of this vocabulary";
}

/// The text tower sees no difference, so they are each other's positives and encoded once.
TEST(Loader, TreatsCaptionsWithTheSameTokensAsOneText) {
  const test::TemporaryFolder folder;
  std::ofstream table(folder.path() / "pairs.csv");
  table << "image,caption\n";
  const std::string picture = (test::golden("train") / "vit" / "images" / "0.png").string(), long_text(300, 'z');
  for (const std::string& caption : {std::string("A dog"), std::string("a  dog"), long_text + "a", long_text + "b"})
    table << picture << ',' << caption << '\n';
  table.close();
  Recipe recipe = loader_recipe();
  recipe.batch_size = 1;
  recipe.captions_per_image = 4;
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const auto dataset = open_dataset((folder.path() / "pairs.csv").string());
  const Batch batch = Loader(*dataset, tokenizer, recipe, 0, 1).next().value();
  EXPECT_EQ(batch.ids.size(0), 2);
  EXPECT_EQ(batch.text_keys.size(0), 2);
  EXPECT_EQ(batch.caption.sum().item<int>(), 2) << "each of both texts twice";
}

/// A data set whose disk or network does not answer; a transfer ends once interrupted.
class Stuck : public Dataset {
 public:
  explicit Stuck(bool is_transfer) : is_transfer_(is_transfer) {}
  std::size_t size() const override { return 8; }
  Sample get(std::size_t) const override {
    while (!is_transfer_ || !interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    throw Error("interrupted");
  }
  void for_each_caption(const std::function<void(std::string_view)>&) const override {}

 private:
  bool is_transfer_;
};

TEST(LoaderDeathTest, GivesNothingOnceInterrupted) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const Recipe recipe = loader_recipe();
  for (const bool is_transfer : {false, true})
    EXPECT_EXIT(
        {
          catch_interrupts();
          const Stuck dataset(is_transfer);
          Loader loader(dataset, tokenizer, recipe, 0, 1);
          std::raise(SIGTERM);
          std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the transfer has failed by now
          std::_Exit(loader.next() ? 1 : 0);
        },
        testing::ExitedWithCode(0), "");
}

TEST(Loader, AugmentsEachSourceInItsOwnWay) {
  const test::TemporaryFolder folder;
  const std::string pairs = eight_pairs(folder.path()).string();
  Recipe recipe = loader_recipe();
  recipe.batch_size = 16;
  recipe.augment.push_back(recipe.augment.front());
  recipe.augment.back().flip_probability = 1;
  const auto dataset = open_datasets({{pairs}, {pairs}});
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const at::Tensor pixels = Loader(*dataset, tokenizer, recipe, 0, 1).next().value().pixels;
  for (int i = 0; i < 16; ++i) {
    int mirrored = 0;
    for (int j = 0; j < 16; ++j) mirrored += pixels[j].flip(2).allclose(pixels[i]);
    EXPECT_EQ(mirrored, 1);
  }
}

/// Different captions, drawn anew every epoch; if there are too few, each equally often.
TEST(Loader, DrawsSeveralCaptionsAnImage) {
  const test::TemporaryFolder folder;
  std::ofstream table(folder.path() / "pairs.csv");
  table << "image,caption\n";
  const auto picture = [](int i) {
    return (test::golden("train") / "vit" / "images" / fmt::format("{}.png", i)).string();
  };
  for (const char* caption : {"cat", "cat", "cat", "cat", "a cat", "the cat", "one cat"})
    table << picture(0) << ',' << caption << '\n';
  for (const char* caption : {"a dog", "dog"}) table << picture(1) << ',' << caption << '\n';
  table.close();
  Recipe recipe = loader_recipe();
  recipe.batch_size = 2;
  recipe.captions_per_image = 4;
  const auto dataset = open_dataset((folder.path() / "pairs.csv").string());
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  std::set<std::int64_t> firsts;
  Loader loader(*dataset, tokenizer, recipe, 0, 50);
  for (int step = 0; step < 50; ++step) {
    const Batch batch = loader.next().value();
    EXPECT_EQ(batch.ids.size(0), 6);
    const auto keys = batch.text_keys.take(batch.caption);
    std::multiset<std::size_t> different;
    for (int image = 0; image < 2; ++image) {
      std::multiset<std::int64_t> own;
      for (int k = 0; k < 4; ++k) own.insert(keys[image][k].item<std::int64_t>());
      different.insert(std::set(own.begin(), own.end()).size());
      for (const std::int64_t key : own) EXPECT_EQ(own.count(key), own.count(*own.begin()));
      firsts.insert(keys[image][0].item<std::int64_t>());
    }
    EXPECT_THAT(different, testing::ElementsAre(2, 4));
  }
  EXPECT_EQ(firsts.size(), 6u);
}

TEST(Loader, StopsAtTooManyBrokenSamples) {
  const test::TemporaryFolder folder;
  Recipe recipe = loader_recipe();
  const auto dataset = open_dataset(eight_pairs(folder.path(), /*broken=*/3));
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const auto load_epochs = [&] {
    Loader loader(*dataset, tokenizer, recipe, 0, 20);
    for (int step = 0; step < 20; ++step) loader.next();
  };
  recipe.max_read_failures = 1;  // one failure, which every epoch meets again
  EXPECT_NO_THROW(load_epochs());
  recipe.max_read_failures = 0;
  EXPECT_THAT(load_epochs, testing::ThrowsMessage<Error>(testing::AllOf(testing::HasSubstr("more than 0 failures"),
                                                                        testing::HasSubstr("99.png"))));
}

/// Throws as for a picture that does not fit in memory.
class Unreadable : public Dataset {
 public:
  std::size_t size() const override { return 8; }
  Sample get(std::size_t) const override { throw std::bad_alloc(); }
  void for_each_caption(const std::function<void(std::string_view)>&) const override {}
};

TEST(Loader, NamesTheSampleOfAnyFailure) {
  const Recipe recipe = loader_recipe();
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const Unreadable dataset;
  Loader loader(dataset, tokenizer, recipe, 0, 1);
  EXPECT_THAT([&] { loader.next(); }, testing::ThrowsMessage<Error>(testing::ContainsRegex("sample [0-7]: ")));
}

/// A data set that has lost a shard of `lost` samples.
class WithoutAShard : public Dataset {
 public:
  explicit WithoutAShard(std::size_t lost) : lost_(lost) {}
  std::size_t size() const override { return 4000; }
  Sample get(std::size_t index) const override {
    if (index < lost_) fail("shard.tar: is gone");
    return {std::to_string(index), image_, std::vector<std::string>{"a text"}};
  }
  void for_each_caption(const std::function<void(std::string_view)>&) const override {}

 private:
  std::size_t lost_;
  const std::string image_ = read_file(test::golden("train") / "vit" / "images" / "0.png");
};

/// The run fails only if hardly any other samples are left.
TEST(Loader, CountsAMissingShardOnce) {
  Recipe recipe = loader_recipe();
  recipe.max_read_failures = 1;
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const WithoutAShard few(400), nearly_all(3999);
  Loader loader(few, tokenizer, recipe, 0, 50);
  for (int step = 0; step < 50; ++step) EXPECT_TRUE(loader.next());
  Loader failing(nearly_all, tokenizer, recipe, 0, 50);
  EXPECT_THAT(
      [&] {
        for (int step = 0; step < 50; ++step) failing.next();
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("samples in a row could not be read, the last: shard.tar")));
}

/// The rows match the global batch, including augmentation and replacements of broken samples, and equal captions have
/// equal keys on all ranks.
TEST(Loader, GivesEachRankItsRowsOfTheGlobalBatch) {
  const test::TemporaryFolder folder;
  Recipe recipe = loader_recipe();
  recipe.augment = {{.min_crop_area = 0.3, .flip_probability = 0.5}};
  const auto dataset = open_dataset(eight_pairs(folder.path(), /*broken=*/3));
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const auto keys_of_rows = [](const Batch& batch) { return batch.text_keys.take(batch.caption); };
  for (const int ranks : {2, 4}) {
    Loader whole(*dataset, tokenizer, recipe, 0, 5);
    std::vector<std::unique_ptr<Loader>> parts;
    for (int rank = 0; rank < ranks; ++rank)
      parts.push_back(std::make_unique<Loader>(*dataset, tokenizer, recipe, 0, 5, rank, ranks));
    for (int step = 0; step < 5; ++step) {
      const Batch expected = whole.next().value();
      std::vector<at::Tensor> pixels, keys;
      for (const auto& part : parts) {
        const Batch batch = part->next().value();
        pixels.push_back(batch.pixels);
        keys.push_back(keys_of_rows(batch));
      }
      EXPECT_TRUE(at::equal(at::cat(pixels), expected.pixels));
      EXPECT_TRUE(at::equal(at::cat(keys), keys_of_rows(expected)));
      EXPECT_EQ(expected.ids.size(0), expected.text_keys.size(0));
    }
  }
  EXPECT_THROW(Loader::check_ranks(recipe, 3), Error);
}

/// A class has the same caption throughout a batch, on all ranks; otherwise two pictures of it would count each other's
/// caption as wrong.
TEST(Loader, GivesTheImagesOfAClassOneCaptionOnAllRanks) {
  const test::TemporaryFolder folder;
  for (int i = 0; i < 8; ++i) {
    const fs::path of_class = folder.path() / (i % 2 == 0 ? "cat" : "dog");
    fs::create_directories(of_class);
    fs::copy_file(test::golden("train") / "vit" / "images" / fmt::format("{}.png", i),
                  of_class / fmt::format("{}.png", i));
  }
  const auto dataset = open_dataset(folder.path().string(), {"a {}", "the {}", "{}", "one {}"});
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  const Recipe recipe = loader_recipe();
  Loader whole(*dataset, tokenizer, recipe, 0, 40), one(*dataset, tokenizer, recipe, 0, 40, 0, 2),
      other(*dataset, tokenizer, recipe, 0, 40, 1, 2);
  std::set<std::int64_t> all;
  for (int step = 0; step < 40; ++step) {
    std::set<std::int64_t> keys;
    for (Loader* loader : {&whole, &one, &other}) {
      const at::Tensor found = loader->next().value().text_keys;
      keys.insert(found.data_ptr<std::int64_t>(), found.data_ptr<std::int64_t>() + found.numel());
    }
    EXPECT_EQ(keys.size(), 2u);
    all.merge(keys);
  }
  EXPECT_EQ(all.size(), 8u);  // the templates take turns
}

/// Half of the sixteen patches, different for each image, the same for any number of ranks.
TEST(Loader, DrawsThePatchesToKeepUniformly) {
  const test::TemporaryFolder folder;
  Recipe recipe = loader_recipe();
  recipe.model.image.image_size = 16;
  recipe.model.image.patch_size = 4;
  recipe.patch_dropout = 0.5;
  const auto dataset = open_dataset(eight_pairs(folder.path()));
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  Loader whole(*dataset, tokenizer, recipe, 0, 200), first(*dataset, tokenizer, recipe, 0, 200, 0, 2);
  std::vector<int> seen(16);
  for (int step = 0; step < 200; ++step) {
    const auto patches = whole.next().value().patches;
    ASSERT_EQ(patches.sizes(), (std::vector<std::int64_t>{8, 8}));
    EXPECT_TRUE(patches.narrow(1, 1, 7).gt(patches.narrow(1, 0, 7)).all().item<bool>());
    EXPECT_TRUE(first.next().value().patches.equal(patches.narrow(0, 0, 4)));
    for (std::int64_t i = 0; i < patches.numel(); ++i)
      ++seen.at(static_cast<std::size_t>(patches.flatten()[i].item<std::int64_t>()));
  }
  for (const int times : seen) EXPECT_NEAR(times, 800, 100);  // five standard deviations
}

}  // namespace
}  // namespace gondola
