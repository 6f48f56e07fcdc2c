#include "pipeline/zero_shot_classifier.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "pipeline/fingerprint.h"
#include "pipeline/head_cache.h"
#include "pipeline/loaded_model.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

std::size_t files_in(const fs::path& folder) {
  return fs::exists(folder) ? static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {})) : 0;
}

/// A classifier's scores of one image, and how many prompts were encoded for it.
struct Answer {
  std::vector<double> scores;
  std::size_t encoded = 0;
};

class CachedClassifier : public testing::Test {
 protected:
  CachedClassifier() {
    fs::copy(test::golden("cli") / "model", model_folder_);
    weights_ = read_file(model_folder_ / "model.safetensors");
  }

  Answer ask(const std::optional<fs::path>& cache) {
    LoadedModel model({.name_or_path = model_folder_.string(),
                       .config = {},
                       .vocabulary = {},
                       .threads = 2,
                       .precision = precision_});
    Answer answer;
    PromptOptions options{overflow_, cache, [&](std::size_t done) { answer.encoded = done; }};
    const ZeroShotClassifier classifier(model, labels_, templates_, options);
    std::vector<float> embedding(model.embed_dim());
    for (std::size_t i = 0; i < embedding.size(); ++i) embedding[i] = static_cast<float>(i % 5) - 1.5f;
    answer.scores = classifier.scores(embedding);
    return answer;
  }

  /// Expects a changed question to be encoded anew, with the right scores, although the cache holds the previous one.
  void expect_encoded_anew(const char* what) {
    const Answer expected = ask(std::nullopt), found = ask(cache_);
    EXPECT_GT(found.encoded, 0u) << what;
    EXPECT_EQ(found.scores, expected.scores) << what;
    EXPECT_EQ(ask(cache_).encoded, 0u) << what;
  }

  test::TemporaryFolder folder_;
  const fs::path model_folder_ = folder_.path() / "model", cache_ = folder_.path() / "cache" / "heads";
  std::string weights_;
  std::vector<std::string> labels_ = {"cat", "dog", "cat", "the sea", "dog"};
  std::vector<std::string> templates_ = {"a photo of a {}.", "the {}", "a photo of a {}."};
  Precision precision_ = Precision::fp32;
  Overflow overflow_ = Overflow::error;
};

TEST_F(CachedClassifier, EncodesOnceAndThenGivesTheSameBits) {
  const Answer fresh = ask(std::nullopt), first = ask(cache_), second = ask(cache_);
  EXPECT_EQ(fresh.encoded, 15u);
  EXPECT_EQ(first.encoded, 15u);
  EXPECT_EQ(second.encoded, 0u);
  EXPECT_EQ(first.scores, fresh.scores);
  EXPECT_EQ(second.scores, fresh.scores);
  EXPECT_EQ(fresh.scores[0], fresh.scores[2]);
  EXPECT_NE(fresh.scores[0], fresh.scores[1]);
  EXPECT_EQ(files_in(cache_), 1u);
}

/// More prompts than are encoded at a time. The ratio of two labels' scores must not depend on the other labels.
TEST_F(CachedClassifier, GivesEachOfManyLabelsItsOwnScore) {
  labels_.clear();
  for (int i = 0; i < 500; ++i) labels_.push_back(fmt::format("cat {} of {}", i, 7 * i % 11));
  const Answer all = ask(std::nullopt);
  EXPECT_EQ(all.encoded, 3u * labels_.size());
  const std::vector<std::string> labels = labels_;
  for (const std::size_t i : {1u, 340u, 341u, 342u, 499u}) {
    labels_ = {labels[0], labels[i]};
    const Answer two = ask(std::nullopt);
    EXPECT_NEAR(all.scores[i] / all.scores[0], two.scores[1] / two.scores[0], 1e-5) << i;
  }
}

TEST_F(CachedClassifier, EncodesAgainWhenAnythingChanges) {
  ask(cache_);
  labels_ = {"dog", "cat", "cat", "the sea", "dog"};
  expect_encoded_anew("order of labels");
  templates_ = {"a photo of a {}.", "the {}", "the {}"};
  expect_encoded_anew("weights of templates");
  templates_ = {"the {}"};
  labels_ = {"a", "b\n1 c"};
  expect_encoded_anew("other labels");
  labels_ = {"a", "b", "c"};
  expect_encoded_anew("labels that look alike when joined");
  overflow_ = Overflow::truncate;
  expect_encoded_anew("cutting long texts");
  precision_ = Precision::bf16;
  expect_encoded_anew("precision");
  const fs::path merges = model_folder_ / "merges.txt";
  test::write(merges, "#version: 0.2\nt h\nth e</w>\n");
  labels_ = {"cat", "dog"};
  expect_encoded_anew("vocabulary");
  test::write(merges, read_file(test::golden("cli") / "model" / "merges.txt"));
  expect_encoded_anew("vocabulary of the same labels");
}

TEST_F(CachedClassifier, EncodesAgainWhenTheWeightsChange) {
  ask(cache_);
  const fs::path file = model_folder_ / "model.safetensors";
  const auto time = fs::last_write_time(file);
  fs::last_write_time(file, time + std::chrono::seconds(1));
  expect_encoded_anew("time of the weights");
  // Changes every weight in the file a little, and restores the file's time.
  const std::size_t header =
      8 + static_cast<unsigned char>(weights_[0]) + 256u * static_cast<unsigned char>(weights_[1]);
  for (std::size_t i = header; i + 4 <= weights_.size(); i += 4)
    weights_[i + 1] = static_cast<char>(weights_[i + 1] ^ 1);
  test::write(file, weights_);
  fs::last_write_time(file, time);
  expect_encoded_anew("weights");
}

TEST(HeadCache, SkipsAnOversizedEntryAndKeepsTheOthers) {
  const test::TemporaryFolder folder;
  const HeadCache cache(folder.path(), 4000);
  const std::vector<float> small(100, 1.0f), large(2000, 2.0f);
  cache.store("small", small);
  cache.store("large", large);
  EXPECT_EQ(cache.find("small", small.size()), small);
  EXPECT_EQ(cache.find("large", large.size()), std::nullopt);
}

/// σ(exp(logit_scale)·cosine + logit_bias) of arXiv 2303.15343.
TEST(SigmoidModel, ScoresEachTextByItself) {
  const std::string model = (test::golden("models") / "vit_custom_text").string();
  const TensorMap weights = load_model_files(model).weights;
  const double scale = std::exp(double{to_floats(weights.at("logit_scale"))[0]}),
               bias = to_floats(weights.at("logit_bias"))[0];
  EXPECT_EQ(bias, -10);
  const LoadedModel loaded({.name_or_path = model, .config = {}, .vocabulary = {}, .threads = 1, .precision = {}});
  const std::vector<float> cosines = {0.9f, -0.2f, 0.4f};
  const std::vector<double> scores = loaded.scores(cosines);
  ASSERT_EQ(scores.size(), cosines.size());
  for (std::size_t i = 0; i < scores.size(); ++i)
    EXPECT_NEAR(scores[i], 1 / (1 + std::exp(-(scale * cosines[i] + bias))), 1e-9);
}

TEST(SigmoidModel, NeedsAFiniteBias) {
  const test::TemporaryFolder folder;
  ModelFiles files = load_model_files((test::golden("models") / "vit_custom_text").string());
  files.weights["logit_bias"] = make_tensor({}, {std::nanf("")});
  write_model_folder(folder.path(), files, nullptr, std::nullopt);
  EXPECT_THAT(
      [&] { LoadedModel({.name_or_path = folder.path().string(), .config = {}, .vocabulary = {}, .precision = {}}); },
      testing::ThrowsMessage<Error>(testing::HasSubstr("logit bias")));
}

TEST_F(CachedClassifier, IgnoresDamagedEntriesAndReplacesThem) {
  const Answer fresh = ask(cache_);
  const fs::path entry = fs::directory_iterator(cache_)->path();
  const std::string bytes = read_file(entry);
  for (std::uint64_t number = 0; number < 60; ++number) {
    const std::string damaged = number == 0 ? "" : test::mutate(bytes, number);
    test::write(entry, damaged);
    const Answer found = ask(cache_);
    EXPECT_EQ(found.scores, fresh.scores) << number;
    EXPECT_EQ(found.encoded > 0, damaged != bytes) << number;
    ASSERT_EQ(read_file(entry), bytes) << number;
  }
}

TEST_F(CachedClassifier, WorksWithoutAWritableCacheFolder) {
  const Answer fresh = ask(std::nullopt);
  test::write(folder_.path() / "file", "");
  for (const fs::path& cache : {folder_.path() / "file" / "cache", fs::path("/proc/gondola")}) {
    for (int run = 0; run < 2; ++run) {
      const Answer found = ask(cache);
      EXPECT_EQ(found.scores, fresh.scores);
      EXPECT_GT(found.encoded, 0u);
    }
  }
  EXPECT_EQ(read_file(folder_.path() / "file"), "");
}

TEST_F(CachedClassifier, FailsTheSameWayAsWithoutACache) {
  ask(cache_);
  templates_ = {"no place for a label"};
  EXPECT_THROW(ask(cache_), Error);
  templates_ = {"{}"};
  labels_ = {std::string(300, 'z')};
  EXPECT_THROW(ask(cache_), Error);
  EXPECT_EQ(files_in(cache_), 1u);
}

TEST(HeadCache, ChecksTheKeyAndTheNumberOfValues) {
  const test::TemporaryFolder folder;
  const HeadCache cache(folder.path());
  const std::vector<float> head = {1, -2, 0.5f};
  cache.store("key", head);
  EXPECT_EQ(cache.find("key", 3), head);
  EXPECT_EQ(cache.find("key", 2), std::nullopt);
  EXPECT_EQ(cache.find("key", 4), std::nullopt);
  EXPECT_EQ(cache.find("other", 3), std::nullopt);
  const fs::path entry = fs::directory_iterator(folder.path())->path();
  cache.store("other", head);
  for (const fs::directory_entry& file : fs::directory_iterator(folder.path()))
    if (file.path() != entry) fs::rename(file.path(), entry);
  EXPECT_EQ(cache.find("key", 3), std::nullopt) << "the entry of another key under this one's name";
}

TEST(HeadCache, RemovesTheLeastRecentlyUsedAboveTheLimit) {
  const test::TemporaryFolder folder;
  const HeadCache cache(folder.path(), 10'000);
  const std::vector<float> head(1000, 1.0f);
  const auto age = [&](int seconds) {
    for (const fs::directory_entry& file : fs::directory_iterator(folder.path()))
      fs::last_write_time(file, file.last_write_time() - std::chrono::seconds(seconds));
  };
  for (const char* key : {"a", "b"}) {
    cache.store(key, head);
    age(10);
  }
  EXPECT_TRUE(cache.find("a", 1000));  // now younger than b
  cache.store("c", head);
  EXPECT_TRUE(cache.find("a", 1000));
  EXPECT_FALSE(cache.find("b", 1000));
  EXPECT_TRUE(cache.find("c", 1000));
}

TEST(HeadCache, IsSafeWithManyWritersAndReaders) {
  const test::TemporaryFolder folder;
  const std::vector<float> head(20'000, 3.0f);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const HeadCache cache(folder.path());
      for (int i = 0; i < 20; ++i) {
        cache.store("key", head);
        EXPECT_EQ(cache.find("key", head.size()), head);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files_in(folder.path()), 1u) << "no temporary file is left";
}

class Vocabularies : public testing::Test {
 protected:
  Vocabularies() { std::filesystem::copy(test::golden("cli") / "model", model_); }
  LoadedModel load(std::optional<std::filesystem::path> vocabulary) const {
    return LoadedModel({.name_or_path = model_.string(),
                        .config = {},
                        .vocabulary = std::move(vocabulary),
                        .threads = 1,
                        .precision = {}});
  }
  test::TemporaryFolder folder_;
  const std::filesystem::path model_ = folder_.path() / "model";
};

/// The description of a vocabulary changes with any of its files.
TEST_F(Vocabularies, AreDescribedByAllTheirFiles) {
  const auto texts = [&](const std::filesystem::path& vocabulary) { return text_fingerprint(load(vocabulary)); };
  const std::string before = texts(model_ / "vocab.json");
  test::write(model_ / "merges.txt", "#version: 0.2\nt h\n");
  EXPECT_NE(texts(model_ / "vocab.json"), before);
  const auto only = folder_.path() / "only";
  test::write(only / "tokenizer.json", "{}");
  const std::string one = texts(only);
  test::write(only / "tokenizer.json", "{ }");
  EXPECT_NE(texts(only), one);
}

/// An index of shards does not tell versions of the weights apart.
TEST_F(Vocabularies, AreNotCachedForShardedModels) {
  const TensorMap weights = read_safetensors(model_ / "model.safetensors");
  std::filesystem::rename(model_ / "model.safetensors", model_ / "a.safetensors");
  Json map;
  for (const auto& [name, tensor] : weights) map[name] = "a.safetensors";
  test::write(model_ / "model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  const std::vector<std::string> texts = {"{}"};
  EXPECT_EQ(head_key(load({}), texts, texts, Overflow::error), std::nullopt);
}

TEST_F(Vocabularies, NeedAModelWithAFiniteScale) {
  ModelFiles files = load_model_files(model_.string());
  for (const float scale : {std::nanf(""), 1000.0f}) {
    files.weights["logit_scale"] = make_tensor({}, {scale});
    std::filesystem::remove_all(model_);
    write_model_folder(model_, files, nullptr, std::nullopt);
    EXPECT_THAT([&] { load({}); }, testing::ThrowsMessage<Error>(testing::HasSubstr("logit scale")));
  }
}

}  // namespace
}  // namespace gondola
