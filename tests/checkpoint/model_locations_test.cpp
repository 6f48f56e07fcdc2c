// Names of models in caches laid out as huggingface_hub and clip.load leave them.
#include "checkpoint/model_locations.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <map>
#include <optional>

#include "base/error.h"
#include "config/model_config.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

class Caches : public testing::Test {
 protected:
  Caches() {
    for (const char* name : {"HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) {
      const char* value = std::getenv(name);
      before_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      ::unsetenv(name);
    }
    set("HOME", folder_.path() / "home");
  }
  ~Caches() override {
    for (const auto& [name, value] : before_)
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
  }

  static void set(const char* name, const fs::path& value) { ::setenv(name, value.c_str(), 1); }

  /// Adds a repository to a cache; returns its snapshot.
  static fs::path add_repository(const fs::path& cache, const std::string& folder) {
    test::write(cache / folder / "refs" / "main", "0123abc\n");
    const fs::path snapshot = cache / folder / "snapshots" / "0123abc";
    fs::create_directories(snapshot);
    return snapshot;
  }

  test::TemporaryFolder folder_;
  const fs::path home_cache_ = folder_.path() / "home" / ".cache";

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(Caches, FollowHuggingFacesEnvironmentVariables) {
  const std::string name = "openai/clip-vit-base-patch32", repository = "models--openai--clip-vit-base-patch32";
  EXPECT_THAT([&] { find_model(name); }, ThrowsMessage<Error>(HasSubstr((home_cache_ / "huggingface").string())));
  const fs::path at_home = add_repository(home_cache_ / "huggingface" / "hub", repository);
  EXPECT_EQ(find_model(name), at_home);
  EXPECT_EQ(find_model("hf-hub:" + name), at_home) << "open_clip's way of writing it";
  EXPECT_THAT([&] { find_model("hf-hub:a/b"); }, ThrowsMessage<Error>(HasSubstr("hf download a/b")));
  for (const char* mistyped : {"./model", "runs/mine/model", "photos/", "models/vit.pt", "~/model"})
    EXPECT_THAT([&] { find_model(mistyped); },
                ThrowsMessage<Error>(testing::EndsWith(std::string(mistyped) + ": no such file or folder")));
  const std::pair<const char*, const char*> variables[] = {
      {"XDG_CACHE_HOME", "huggingface/hub"}, {"HF_HOME", "hub"}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HUB_CACHE", ""}};
  for (const auto& [variable, below] : variables) {  // each takes precedence over the one before
    const fs::path cache = folder_.path() / variable;
    set(variable, cache);
    EXPECT_EQ(find_model(name), add_repository(cache / below, repository)) << variable;
  }
}

TEST_F(Caches, ExpandATildeInTheirPath) {
  const std::string repository = "models--openai--clip-vit-base-patch32";
  ::setenv("HF_HOME", "~/hf", 1);
  const fs::path expected = add_repository(fs::path(std::getenv("HOME")) / "hf" / "hub", repository);
  EXPECT_EQ(find_model("openai/clip-vit-base-patch32"), expected);
}

TEST_F(Caches, HoldOpenClipsModelsByTheirTags) {
  const fs::path snapshot =
      add_repository(home_cache_ / "huggingface" / "hub", "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K");
  EXPECT_EQ(find_model("ViT-B-32/laion2b_s34b_b79k"), snapshot);
  EXPECT_THROW(find_model("ViT-B-32/no_such_tag"), Error);
}

TEST_F(Caches, HoldOpenAIsFiles) {
  const fs::path file = home_cache_ / "clip" / "ViT-B-32.pt";
  EXPECT_THAT([] { find_model("ViT-B/32"); }, ThrowsMessage<Error>(HasSubstr(file.string())));
  test::write(file, "");
  EXPECT_EQ(find_model("ViT-B/32"), file);
  EXPECT_THAT([] { find_model("ViT-B-99"); }, ThrowsMessage<Error>(HasSubstr("ViT-L/14@336px")));
}

TEST(FindModel, AcceptsOpenClipsWayOfNamingAFolder) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(find_model("local-dir:" + folder.path().string()), folder.path());
  EXPECT_THAT([&] { find_model("local-dir:a/b"); },
              ThrowsMessage<Error>(testing::EndsWith("local-dir:a/b: no such file or folder")));
}

/// The library's exception for such a name would not be an Error.
TEST(FindModel, RefusesANameThatIsTooLong) {
  const std::string name(300, 'x');
  EXPECT_THAT([&] { find_model(name); }, ThrowsMessage<Error>(testing::StartsWith(name + ": ")));
}

/// They may be another user's; a link to itself stands for a file that may not be looked at.
TEST_F(Caches, CountAsEmptyWhereTheyCannotBeRead) {
  const fs::path vocabulary = home_cache_ / "clip" / "bpe_simple_vocab_16e6.txt.gz";
  fs::create_directories(vocabulary.parent_path());
  fs::create_symlink(vocabulary, vocabulary);
  EXPECT_EQ(find_openai_vocabulary(), std::nullopt);
}

TEST_F(Caches, RefuseCommitsOutsideTheirSnapshots) {
  const fs::path hub = home_cache_ / "huggingface" / "hub";
  add_repository(hub, "models--a--b");
  fs::create_directories(hub / "elsewhere");
  for (const char* commit : {"../../elsewhere", "", "no-such-commit"}) {
    test::write(hub / "models--a--b" / "refs" / "main", commit);
    EXPECT_THROW(find_model("a/b"), Error) << commit;
  }
}

TEST_F(Caches, HoldTheVocabularyThatOpenAIsModelsShare) {
  const fs::path model = folder_.path() / "model";
  fs::create_directories(model);
  EXPECT_EQ(find_vocabulary(model, openai_vocab_size), std::nullopt);
  const fs::path of_clip = home_cache_ / "clip" / "bpe_simple_vocab_16e6.txt.gz";
  test::write(of_clip, "");
  EXPECT_EQ(find_vocabulary(model, openai_vocab_size), of_clip);
  const fs::path hub = home_cache_ / "huggingface" / "hub";
  fs::path snapshot;
  for (const char* size : {"large-patch14-336", "large-patch14", "base-patch16", "base-patch32"}) {
    snapshot = add_repository(hub, std::string("models--openai--clip-vit-") + size);
    test::write(snapshot / "tokenizer.json", "{}");
    EXPECT_EQ(find_vocabulary(model, openai_vocab_size), snapshot);
  }
  EXPECT_EQ(find_vocabulary(model, 1000), std::nullopt) << "of another model";
  test::write(model / "merges.txt", "");
  EXPECT_EQ(find_vocabulary(model, openai_vocab_size), snapshot) << "half a vocabulary is none";
  test::write(model / "vocab.json", "{}");
  EXPECT_EQ(find_vocabulary(model, openai_vocab_size), model);
}

}  // namespace
}  // namespace gondola
