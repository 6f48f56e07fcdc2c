// What the commands accept as images, labels and texts.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "tests/cli/program.h"

namespace gondola {
namespace {

using test::Result;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

using Inputs = test::Program;

TEST_F(Inputs, PathsMayEndWithNul) {
  std::ofstream(folder_.path() / "paths") << "images/a.png" << '\0' << "images/b.jpg" << '\0';
  const Result result = run("classify - --model model --json --labels cat,dog < " + out("paths"));
  ASSERT_EQ(result.lines().size(), 2u) << result.error;
  EXPECT_EQ(result.lines()[0].at("image"), "images/a.png");
  EXPECT_EQ(result.lines()[1].at("image"), "images/b.jpg");
}

TEST_F(Inputs, FoldersGiveTheirPicturesAndSayWhatIsLeftOut) {
  const fs::path photos = folder_.path() / "photos", none = folder_.path() / "none";
  fs::create_directories(photos / ".thumbnails");
  fs::create_directories(none);
  for (const char* copy : {"a.PNG", "._a.png", ".thumbnails/a.png", "IMG_1.HEIC", "IMG_2.heic", "notes.txt"})
    fs::copy_file(golden_ / "images" / "a.png", photos / copy);
  const Result result =
      run("classify " + out("photos") + " " + out("none") + " images/b.jpg --model model --json " + "--labels cat,dog");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.error, HasSubstr("2 .heic left out"));
  ASSERT_EQ(result.lines().size(), 3u);
  EXPECT_EQ(result.lines()[0].at("image"), (photos / "a.PNG").string());
  EXPECT_THAT(result.lines()[1].at("error").get<std::string>(), HasSubstr("no images (.jpg"));
  EXPECT_TRUE(result.lines()[2].contains("labels"));
}

/// Extensions may be in any case; the content decides how a file is read.
TEST_F(Inputs, FoldersGiveEveryKindOfPicture) {
  const fs::path photos = folder_.path() / "photos";
  fs::create_directories(photos);
  const std::vector<std::string> names = {"1.jpg", "2.JPEG", "3.jpe", "4.Jfif", "5.png", "6.webp", "7.gif", "8.bmp"};
  for (const std::string& name : names) fs::copy_file(golden_ / "images" / "a.png", photos / name);
  fs::copy_file(golden_ / "images" / "a.png", photos / "9.txt");
  std::vector<std::string> found;
  for (const Json& line : run("classify " + out("photos") + " --model model --json --labels cat,dog").lines())
    found.push_back(fs::path(line.at("image").get<std::string>()).filename());
  EXPECT_EQ(found, names);
}

/// In the order of paths: component by component.
TEST_F(Inputs, FoldersGiveTheirPicturesInOrder) {
  const fs::path photos = folder_.path() / "photos";
  std::vector<fs::path> paths;
  for (const char* name : {"a-b.png", "a/c.png", "a.png", "\xc3\xa9.png", "B.png", "a/b/z.png", "ab.png"}) {
    paths.push_back(photos / name);
    fs::create_directories(paths.back().parent_path());
    fs::copy_file(golden_ / "images" / "a.png", paths.back());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<fs::path> found;
  for (const Json& line : run("classify " + out("photos") + " --model model --json --labels cat,dog").lines())
    found.emplace_back(line.at("image").get<std::string>());
  EXPECT_EQ(found, paths);
}

TEST_F(Inputs, AnImageOnStdinIsNotReadAsAListOfPaths) {
  EXPECT_THAT(run("classify - --model model --labels cat,dog < images/b.jpg").error, HasSubstr("stdin is an image"));
  fs::create_directories(folder_.path() / "BM");
  fs::copy_file(golden_ / "images" / "a.png", folder_.path() / "BM" / "a.png");
  std::ofstream(folder_.path() / "paths") << "BM/a.png\n";
  EXPECT_EQ(run("preprocess - --model '" + (golden_ / "model").string() + "' --out " + out("tensors") + " < paths",
                "; cd '" + folder_.path().string() + "' && ")
                .status,
            0);
}

TEST_F(Inputs, AModelMayBeInTheCurrentFolder) {
  EXPECT_EQ(run("tokenize --model model.safetensors 'the cat'", "; cd model && ").status, 0);
}

TEST_F(Inputs, MessagesEscapeTerminalControlCharacters) {
  const Result result = run("classify \"$(printf 'a\\033b.png')\" --model model --labels cat");
  EXPECT_THAT(result.error, HasSubstr("a\\x1bb.png"));
  const Result c1 = run("classify \"$(printf 'a\\302\\233b.png')\" --model model --labels cat");
  EXPECT_THAT(c1.error, HasSubstr("a\\x9bb.png"));
  const Result lines = run("classify \"$(printf 'a\\ngondola: b.png')\" --model model --labels cat");
  EXPECT_THAT(lines.error, HasSubstr("a\\x0agondola: b.png"));
  const fs::path photo = folder_.path() / "\x1b[31mred\na.png";
  fs::copy_file(golden_ / "images" / "a.png", photo);
  const Result shown = run("classify '" + photo.string() + "' --model model --labels \"$(printf 'c\\033at')\"");
  EXPECT_EQ(shown.status, 0) << shown.error;
  EXPECT_THAT(shown.out, HasSubstr("\\x1b[31mred\\x0aa.png\n  c\\x1bat"));
}

/// As by torchvision's ImageFolder, but never in circles; a link to a missing picture is reported by name.
TEST_F(Inputs, FoldersAreSearchedThroughLinks) {
  const fs::path photos = folder_.path() / "photos";
  fs::create_directories(photos / "deeper");
  fs::create_directory_symlink(golden_ / "images" / "deeper", photos / "linked");
  fs::create_directory_symlink("..", photos / "deeper" / "round");
  fs::create_directory_symlink("deeper", photos / "twice");
  fs::create_directories(photos / ".store" / "b");
  fs::copy_file(golden_ / "images" / "b.jpg", photos / ".store" / "b" / "b.jpg");
  fs::create_directory_symlink(".store/b", photos / "stored");
  fs::copy_file(golden_ / "images" / "a.png", photos / "deeper" / "a.png");
  ASSERT_EQ(::mkfifo((folder_.path() / "pipe").c_str(), 0600), 0);
  fs::create_symlink(folder_.path() / "pipe", photos / "pipe.jpg");
  fs::create_symlink("nowhere.jpg", photos / "gone.jpg");
  fs::create_symlink("nowhere.txt", photos / "notes.txt");
  const Result result = run("classify " + out("photos") + " --model model --json --labels cat,dog");
  EXPECT_EQ(result.status, 1);
  ASSERT_EQ(result.lines().size(), 4u);
  EXPECT_EQ(result.lines()[0].at("image"), (photos / "deeper" / "a.png").string());
  EXPECT_EQ(result.lines()[3].at("image"), (photos / "stored" / "b.jpg").string());
  EXPECT_THAT(result.lines()[1].at("error").get<std::string>(), HasSubstr("gone.jpg: cannot be opened"));
  EXPECT_EQ(result.lines()[2].at("image"), (photos / "linked" / "c.png").string());
}

TEST_F(Inputs, TextsMustBeUtf8) {
  const std::string bytes = "\"$(printf 'caf\\351')\"";
  for (const std::string& arguments : {"classify images/a.png --labels " + bytes, "match images/a.png --text " + bytes,
                                       "tokenize " + bytes, "classify images/a.png --labels a --template {}" + bytes})
    EXPECT_THAT(run(arguments + " --model model").error, HasSubstr("expected UTF-8")) << arguments;
  std::ofstream(folder_.path() / "words.txt") << "a cat\ncaf\xe9\n";
  EXPECT_THAT(run("vocab " + out("words.txt") + " --size 514 --out " + out("vocabulary")).error,
              HasSubstr("words.txt:2: is not UTF-8"));
}

TEST_F(Inputs, EmbedRefusesTextsThatAreNotUtf8) {
  std::ofstream(folder_.path() / "texts.txt") << "a cat\ncaf\xe9\n";
  EXPECT_THAT(run("embed --model model --text-file " + out("texts.txt") + " --out " + out("e")).error,
              HasSubstr("texts.txt:2: is not UTF-8"));
}

/// As Windows writes them.
TEST_F(Inputs, FilesOfLinesMayHaveByteOrderMarksAndCarriageReturns) {
  std::ofstream(folder_.path() / "labels.txt") << "\xef\xbb\xbf"
                                               << "cat\r\n\r\n dog\r\n";
  std::ofstream(folder_.path() / "paths.txt") << "\xef\xbb\xbf"
                                              << "images/a.png\r\n";
  const Result result =
      run("classify - --model model --json --labels-file " + out("labels.txt") + " < " + out("paths.txt"));
  ASSERT_EQ(result.status, 0) << result.error;
  const Json line = result.lines().at(0);
  EXPECT_EQ(line.at("image"), "images/a.png");
  std::set<std::string> labels;
  for (const Json& one : line.at("labels")) labels.insert(one.at("label"));
  EXPECT_THAT(labels, ElementsAre("cat", "dog"));
  std::ofstream(folder_.path() / "labels.txt") << "cat\ncaf\xe9\n";
  EXPECT_THAT(run("classify images --model model --labels-file " + out("labels.txt")).error,
              HasSubstr("labels.txt:2: is not UTF-8"));
  std::ofstream(folder_.path() / "labels.txt") << "\n";
  EXPECT_THAT(run("classify images --model model --labels-file " + out("labels.txt")).error, HasSubstr("has no label"));
}

/// A duplicate would take half of a label's score.
TEST_F(Inputs, ClassifyIgnoresDuplicateLabels) {
  const std::string command = "classify images/a.png --model model --labels ";
  EXPECT_EQ(run(command + "'cat,dog, cat'").out, run(command + "cat,dog").out);
}

}  // namespace
}  // namespace gondola
