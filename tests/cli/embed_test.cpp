// What embed leaves behind when it is stopped, and how it resumes.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <list>

#include "base/error.h"
#include "base/parquet_writer.h"
#include "cli/embedding_files.h"
#include "tests/cli/program.h"

namespace gondola {
namespace {

using cli::EmbeddingFiles;
using cli::FileLimit;
using test::Result;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::ThrowsMessage;
namespace fs = std::filesystem;

constexpr FileLimit two_rows = {.rows = 2};
const std::vector<std::string> inputs = {"a.png", "b.png", "broken.png", "c.png", "d.png", "e.png"};
const Json made_by = {{"weights", "1"}, {"dtype", "fp32"}};

class Files : public testing::Test {
 protected:
  EmbeddingFiles open(bool resume, const Json& by = made_by, std::vector<std::string> given = inputs,
                      const std::string& kind = "img", const FileLimit& limit = two_rows) {
    given_.push_back(std::move(given));
    return EmbeddingFiles(folder_.path(), kind, by, given_.back(), resume, limit);
  }
  /// Appends [index, 1] for each input before `end`, except broken.png.
  void embed(EmbeddingFiles& files, std::size_t end) {
    for (std::size_t i = files.done(); i < end; ++i)
      if (inputs[i] != "broken.png") files.append(i, NpyType::float32, std::vector<float>{static_cast<float>(i), 1});
  }
  std::vector<float> firsts(int number) const {
    const auto rows = test::read_npy<float>(folder_.path() / "img_emb" / fmt::format("img_emb_{}.npy", number));
    std::vector<float> values;
    for (std::size_t i = 0; i < rows.values.size(); i += 2) values.push_back(rows.values[i]);
    return values;
  }
  /// Expects the rows of file `number` to be those of these inputs.
  void expect_paths(int number, const std::vector<std::string>& expected) const {
    write_parquet(folder_.path() / "expected", "image_path", expected);
    EXPECT_EQ(read_file(folder_.path() / "metadata" / fmt::format("metadata_{}.parquet", number)),
              read_file(folder_.path() / "expected"));
  }

  test::TemporaryFolder folder_;
  std::list<std::vector<std::string>> given_;  ///< must outlive what was opened
};

TEST_F(Files, HoldAFixedNumberOfRowsAndResumeAfterTheLastInput) {
  {
    EmbeddingFiles files = open(false);
    embed(files, 4);
    EXPECT_THAT(firsts(0), ElementsAre(0, 1));
    EXPECT_FALSE(fs::exists(files.file(1))) << "before it is whole";
    files.save_partial();
  }
  EXPECT_THAT(firsts(1), ElementsAre(3));
  {
    EmbeddingFiles files = open(true);
    EXPECT_EQ(files.done(), 4u);
    embed(files, 5);  // and is killed
  }
  const fs::path killed = temporary_beside(folder_.path() / "metadata" / "metadata_2.parquet");
  std::ofstream(killed) << "half";
  {
    EmbeddingFiles files = open(true);
    EXPECT_EQ(files.done(), 4u);
    embed(files, 6);
    EXPECT_THAT([&] { open(true); }, ThrowsMessage<Error>(HasSubstr("another process is writing there")));
    files.finish();
    EXPECT_THAT(firsts(2), ElementsAre(4, 5));
    EXPECT_THAT(files.rows(), ElementsAre(2, 1, 2));
    EXPECT_THAT(files.failed(), ElementsAre(2));
  }
  EXPECT_FALSE(fs::exists(killed));
  expect_paths(0, {"a.png", "b.png"});
  expect_paths(1, {"c.png"});
  expect_paths(2, {"d.png", "e.png"});
  EXPECT_EQ(open(true).done(), 6u);
}

TEST_F(Files, RetryFailedInputs) {
  {
    EmbeddingFiles files = open(false);
    for (const std::size_t i : {0, 3}) files.append(i, NpyType::float32, std::vector<float>{static_cast<float>(i), 1});
    EXPECT_THAT(files.failed(), ElementsAre(1, 2));
    EXPECT_EQ(files.done(), 4u);
    files.finish();
    EXPECT_THAT(files.failed(), ElementsAre(1, 2, 4, 5));
  }
  {
    EmbeddingFiles files = open(true);
    EXPECT_THAT(files.failed(), ElementsAre(1, 2, 4, 5));
    EXPECT_EQ(files.done(), 6u);
    for (const std::size_t i : {1, 4}) files.append(i, NpyType::float32, std::vector<float>{static_cast<float>(i), 1});
    files.append(5, NpyType::float32, std::vector<float>{5, 1});  // and is killed
  }
  EmbeddingFiles files = open(true);
  EXPECT_THAT(files.failed(), ElementsAre(2, 5));
  EXPECT_THAT(firsts(1), ElementsAre(1, 4));
  expect_paths(1, {"b.png", "d.png"});
}

TEST_F(Files, RefuseAnImpossibleRecordOfFailures) {
  {
    EmbeddingFiles files = open(false);
    files.append(0, NpyType::float32, std::vector<float>{0, 1});
    files.finish();
  }
  const fs::path path = folder_.path() / "img_emb.json";
  Json record = Json::parse(read_file(path));
  EXPECT_EQ(record.at("failed"), Json({1, 2, 3, 4, 5}));
  record["failed"] = {99};
  std::ofstream(path) << record;
  EXPECT_THAT([&] { open(true); },
              ThrowsMessage<Error>(HasSubstr("img_emb.json: is damaged, or was not written by gondola embed")));
}

TEST_F(Files, AreSavedAfterTheTimeLimit) {
  EmbeddingFiles files = open(false, made_by, inputs, "img", {.time = std::chrono::seconds(0)});
  embed(files, 2);
  EXPECT_EQ(files.saved(), 2u);
  EXPECT_THAT(firsts(1), ElementsAre(1));
}

/// As in clip-retrieval: sorting the names puts the rows in order.
TEST_F(Files, AreNumberedWithLeadingZeros) {
  const FileLimit one_row = {.rows = 1};
  const std::vector<std::string> twelve(12, "a.png");
  const auto names = [&](const char* folder) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_.path() / folder))
      if (const std::string name = entry.path().filename().string(); name != ".lock") found.push_back(name);
    std::ranges::sort(found);
    return found;
  };
  {
    EmbeddingFiles files = open(false, made_by, twelve, "img", one_row);
    for (std::size_t i = 0; i < 10; ++i)
      files.append(i, NpyType::float32, std::vector<float>{static_cast<float>(i), 1});
    EXPECT_THAT(names("img_emb"), AllOf(SizeIs(10), Contains("img_emb_00.npy"), Contains("img_emb_09.npy")));
    EXPECT_EQ(files.file(3).filename(), "img_emb_03.npy");
  }
  fs::rename(folder_.path() / "img_emb" / "img_emb_04.npy", folder_.path() / "img_emb" / "img_emb_4.npy");
  fs::rename(folder_.path() / "metadata" / "metadata_05.parquet", folder_.path() / "metadata" / "metadata_5.parquet");
  EmbeddingFiles files = open(true, made_by, twelve, "img", one_row);  // after one that was killed while renaming
  for (std::size_t i = 10; i < 12; ++i) files.append(i, NpyType::float32, std::vector<float>{static_cast<float>(i), 1});
  EXPECT_THAT(names("metadata"), AllOf(SizeIs(12), Contains("metadata_05.parquet"), Contains("metadata_11.parquet")));
  ASSERT_THAT(names("img_emb"), SizeIs(12));
  for (std::size_t i = 0; i < 12; ++i)
    EXPECT_EQ(test::read_npy<float>(folder_.path() / "img_emb" / names("img_emb")[i]).values.at(0),
              static_cast<float>(i));
}

/// As after a kill between the first file and the record of it.
TEST_F(Files, ResumeAfterAKillBeforeTheFirstFileWasRecorded) {
  std::string empty;
  {
    EmbeddingFiles files = open(false);
    empty = read_file(folder_.path() / "img_emb.json");
    embed(files, 2);
  }
  std::ofstream(folder_.path() / "img_emb.json") << empty;
  { const EmbeddingFiles files = open(true); }
  EmbeddingFiles files = open(true);
  embed(files, 6);
  files.finish();
  EXPECT_THAT(firsts(0), ElementsAre(0, 1));
}

/// What is lost must not count as done.
TEST_F(Files, DoNotCountLostRowsAsDone) {
  {
    EmbeddingFiles files = open(false);
    embed(files, 2);
    fs::create_directory(files.file(1));  // in its way
    embed(files, 4);
    EXPECT_THROW(embed(files, 5), Error);
    files.save_partial();
    EXPECT_EQ(files.saved(), 2u);
    fs::remove(files.file(1));
  }
  EmbeddingFiles files = open(true);
  EXPECT_EQ(files.done(), 2u);
  embed(files, 6);
  files.finish();
  EXPECT_THAT(firsts(1), ElementsAre(3, 4));
}

TEST_F(Files, ResumeOnlyWithTheSameSettingsAndInputs) {
  {
    EmbeddingFiles files = open(true);  // nothing to resume yet
    embed(files, 4);
    files.save_partial();
  }
  EXPECT_THAT([&] { open(false); }, ThrowsMessage<Error>(HasSubstr("--resume")));
  EXPECT_THAT(
      [&] {
        open(true, {{"weights", "1"}, {"dtype", "fp16"}});
      },
      ThrowsMessage<Error>(HasSubstr("dtype was \"fp32\" and is \"fp16\" now")));
  EXPECT_THAT(
      [&] {
        open(true, made_by, {"a.png", "b.png", "c.png", "d.png"});
      },
      ThrowsMessage<Error>(HasSubstr("not the first")));
  EXPECT_THAT([&] { open(true, made_by, {"a.png"}); }, ThrowsMessage<Error>(HasSubstr("more than are given")));
  const Json other_weights = {{"weights", "2"}, {"dtype", "fp32"}};
  EXPECT_THAT([&] { open(false, other_weights, {"a cat"}, "text"); },
              ThrowsMessage<Error>(HasSubstr("another model's")));
  EXPECT_NO_THROW(open(false, made_by, {"a cat"}, "text"));
  const std::string record = read_file(folder_.path() / "img_emb.json");
  std::ofstream(folder_.path() / "img_emb.json") << "{\"rows\": 3}";
  EXPECT_THAT([&] { open(true); }, ThrowsMessage<Error>(HasSubstr("was not written by gondola embed")));
  fs::remove(folder_.path() / "img_emb.json");
  EXPECT_THAT([&] { open(true); }, ThrowsMessage<Error>(HasSubstr("cannot be resumed")));
  std::ofstream(folder_.path() / "img_emb.json") << record;
  EXPECT_NO_THROW(open(true));
  fs::remove(folder_.path() / "img_emb" / "img_emb_0.npy");
  EXPECT_THAT([&] { open(true); }, ThrowsMessage<Error>(HasSubstr("img_emb_0.npy is gone")));
}

/// The record of a process killed before its first file does not stop others; that of a running process does.
TEST_F(Files, IgnoreTheEmptyRecordOfAKilledProcess) {
  const Json other_weights = {{"weights", "2"}, {"dtype", "fp32"}};
  const auto open_texts = [&] { open(false, other_weights, {"a cat"}, "text"); };
  const fs::path path = folder_.path() / "img_emb.json";
  std::string record;
  {
    const EmbeddingFiles files = open(false);
    record = read_file(path);
    EXPECT_THAT(open_texts, ThrowsMessage<Error>(HasSubstr("another model's")));
  }
  std::ofstream(path) << record;
  EXPECT_NO_THROW(open_texts());
}

using Embed = test::Program;

TEST_F(Embed, GoesOnAfterAnInterruptAndLosesNothing) {
  constexpr int copies = 3000;
  std::ofstream list(folder_.path() / "paths");
  for (int i = 0; i < copies; ++i) list << (i % 2 == 0 ? "images/a.png\n" : "images/b.jpg\n");
  list.close();
  const std::string embed = "embed - --model model --dtype fp32 --json < " + out("paths") + " --out ";
  const Result whole = run(embed + out("whole"));
  ASSERT_EQ(whole.status, 0) << whole.error;

  const std::string stopped = " 2> " + out("message") + " & while kill -0 $! && [ ! -d " + out("parts") +
                              "/img_emb ]; do sleep 0.01; done; kill -INT $!; wait $!; exit $?; :";
  int status = 0;
  for (int tries = 0; tries < 10 && status != 1; ++tries) {  // the shell may be late
    fs::remove_all(folder_.path() / "parts");
    status = run(embed + out("parts") + stopped).status;
  }
  EXPECT_EQ(status, 1);
  EXPECT_THAT(read_file(folder_.path() / "message"), HasSubstr("--resume continues after"));
  EXPECT_THAT(run(embed + out("parts")).error, HasSubstr("already has embeddings; continue with --resume"));
  const Result resumed = run(embed + out("parts") + " --resume");
  ASSERT_EQ(resumed.status, 0) << resumed.error;
  ASSERT_EQ(resumed.lines().size(), 2u);

  const auto values = [](const Json& line) {
    return test::read_npy<float>(line.at("embeddings").get<std::string>()).values;
  };
  std::vector<float> rows = values(resumed.lines()[0]);
  EXPECT_LT(rows.size(), values(whole.lines()[0]).size());
  std::ranges::copy(values(resumed.lines()[1]), std::back_inserter(rows));
  EXPECT_EQ(rows, values(whole.lines()[0]));
  EXPECT_EQ(run(embed + out("parts") + " --resume").out, resumed.out) << "when nothing is left to do";
}

TEST_F(Embed, LeavesNoPathsOfEmbeddingsThatAreGone) {
  const fs::path metadata = folder_.path() / "e" / "metadata";
  fs::create_directories(metadata);
  for (const char* name : {"metadata_1.parquet", "notes.parquet"}) test::write(metadata / name, "of another run");
  ASSERT_EQ(run("embed images/a.png --model model --out " + out("e")).status, 0);
  EXPECT_TRUE(fs::exists(metadata / "metadata_0.parquet"));
  EXPECT_FALSE(fs::exists(metadata / "metadata_1.parquet"));
  EXPECT_TRUE(fs::exists(metadata / "notes.parquet"));
}

TEST_F(Embed, ReportsEarlierFailuresWhenResumed) {
  const std::string embed = "embed images/a.png damaged.png images/b.jpg --model model --out " + out("e");
  EXPECT_EQ(run(embed).status, 1);
  const Result again = run(embed + " --resume");
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.error, HasSubstr("1 of the 3 images already processed have no embedding; trying them again"));
}

TEST_F(Embed, WarnsAboutPathsThatAreNotUtf8) {
  fs::create_directories(folder_.path() / "photos");
  fs::copy_file(golden_ / "images" / "a.png", folder_.path() / "photos" / "\xff.png");
  const Result result = run("embed images " + out("photos") + " --model model --out " + out("e"));
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.error, HasSubstr("1 of 4 paths are not UTF-8"));
}

TEST_F(Embed, RetriesFailedImagesWhenResumed) {
  fs::create_directories(folder_.path() / "photos");
  const fs::path first = folder_.path() / "photos" / "1.png", second = folder_.path() / "photos" / "2.jpg";
  fs::copy_file(golden_ / "images" / "b.jpg", second);
  const std::string embed =
      "embed '" + first.string() + "' '" + second.string() + "' --model model --dtype fp32 --out ";
  EXPECT_EQ(run(embed + out("e")).status, 1);
  fs::copy_file(golden_ / "images" / "a.png", first);
  const Result again = run(embed + out("e") + " --resume");
  EXPECT_EQ(again.status, 0) << again.error;
  ASSERT_EQ(run(embed + out("whole")).status, 0);
  const std::vector<float> whole = rows("whole", "img"), of_the_second = rows("e", "img");
  const std::vector<float> of_the_first =
      test::read_npy<float>(folder_.path() / "e" / "img_emb" / "img_emb_1.npy").values;
  EXPECT_TRUE(std::ranges::equal(of_the_first, std::span(whole).first(16)));
  EXPECT_TRUE(std::ranges::equal(of_the_second, std::span(whole).subspan(16)));
}

/// Options that change the rows must be the same.
TEST_F(Embed, ResumesOnlyWithTheSameOptions) {
  std::ofstream(folder_.path() / "texts") << "a cat\na dog\n";
  const std::string embed = "embed images --text-file " + out("texts") + " --precision fp32 --out " + out("e");
  ASSERT_EQ(run(embed + " --model model").status, 0);
  EXPECT_EQ(run(embed + " --model model --resume").status, 0);
  for (const char* option : {"--raw", "--exif", "--dtype fp32"})
    EXPECT_EQ(run(embed + " --model model --resume " + option).status, 1) << option;
  EXPECT_EQ(run("embed images --model model --precision bf16 --resume --out " + out("e")).status, 1);
  const std::string texts = "embed --model model --text-file " + out("texts") + " --out " + out("t");
  ASSERT_EQ(run(texts).status, 0);
  EXPECT_EQ(run(texts + " --resume --exif").status, 0) << "of images alone";

  const fs::path copy = folder_.path() / "copy";
  const auto resumed_by = [&](const char* file, const char* before, const char* after) {
    fs::remove_all(copy);
    fs::copy(golden_ / "model", copy);
    std::string text = read_file(copy / file);
    text.replace(text.find(before), std::string_view(before).size(), after);
    write_file_atomically(copy / file, text);
    return run(embed + " --resume --model " + out("copy"));
  };
  EXPECT_EQ(resumed_by("vocab.json", "", "").status, 0) << "another place is the same model";
  EXPECT_THAT(resumed_by("preprocessor_config.json", "\"resample\": 3", "\"resample\": 2").error,
              HasSubstr("another model's"));
  EXPECT_THAT(resumed_by("merges.txt", "t h\n", "").error, HasSubstr("another model's"));
  EXPECT_THAT(resumed_by("config.json", "quick_gelu", "gelu").error, HasSubstr("another model's"));
  EXPECT_EQ(run("embed images --model " + out("copy") + " --out " + out("mixed")).status, 0)
      << "which open_clip has not";
}

TEST_F(Embed, RefusesTextsAndImagesOfDifferentModelsInOneFolder) {
  std::ofstream(folder_.path() / "texts") << "a cat\na dog\n";
  ASSERT_EQ(run("embed --text-file " + out("texts") + " --model model --dtype fp32 --out " + out("e")).status, 0);
  EXPECT_EQ(test::read_npy<float>(folder_.path() / "e" / "text_emb" / "text_emb_0.npy").shape.at(0), 2u);
  const std::string images = "embed images --out " + out("e") + " --model ";
  EXPECT_THAT(run(images + "../models/vit_open_clip").error, HasSubstr("another model's"));
  EXPECT_EQ(run(images + "model").status, 0);
}

}  // namespace
}  // namespace gondola
