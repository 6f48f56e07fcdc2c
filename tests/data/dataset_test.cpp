#include "data/dataset.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/error.h"
#include "data/sources.h"
#include "tests/data/support.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

using test::captions_of;
using test::TemporaryFolder;
using test::write;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::ThrowsMessage;

TEST(ClassFolders, LabelsImagesByFolder) {
  TemporaryFolder folder;
  write(folder.path() / "tabby_cat" / "2.jpg", "two");
  write(folder.path() / "tabby_cat" / "deeper" / "1.PNG", "one");
  write(folder.path() / "tabby_cat" / "notes.txt", "no image");
  write(folder.path() / "tabby_cat" / ".hidden.jpg", "no image");
  fs::create_directory(folder.path() / "tabby_cat" / ".ipynb_checkpoints");
  write(folder.path() / "tabby_cat" / ".ipynb_checkpoints" / "a-checkpoint.jpg", "no image");
  write(folder.path() / "ant" / "x.jfif", "ant");
  write(folder.path() / "loose.jpg", "in no class");
  write(folder.path() / ".cache" / "x.jpg", "no class");
  const auto data = open_dataset(folder.path().string(), {"a photo of a {}.", "a {}"});
  EXPECT_THAT(data->class_names(), ElementsAre("ant", "tabby cat"));
  ASSERT_EQ(data->size(), 3u);
  EXPECT_EQ(data->get(0).image, "ant");
  EXPECT_EQ(data->get(0).label, 0);
  EXPECT_EQ(data->get(1).image, "two");
  EXPECT_EQ(data->get(2).image, "one");
  EXPECT_EQ(data->get(2).label, 1);
  EXPECT_THAT(data->get(2).captions, ElementsAre("a photo of a tabby cat.", "a tabby cat"));
  EXPECT_THROW(data->get(3), Error);
}

/// As by torchvision's ImageFolder, but never in circles, nor into other classes.
TEST(ClassFolders, AreSearchedThroughLinks) {
  TemporaryFolder folder;
  write(folder.path() / "elsewhere" / "cats" / "1.jpg", "one");
  write(folder.path() / "elsewhere" / "2.jpg", "two");
  const auto root = folder.path() / "classes";
  fs::create_directories(root / "dog");
  fs::create_directory_symlink(folder.path() / "elsewhere" / "cats", root / "cat");
  fs::create_symlink(folder.path() / "elsewhere" / "2.jpg", root / "dog" / "2.jpg");
  fs::create_directory_symlink(root, root / "dog" / "round");
  fs::create_directory_symlink("itself", root / "itself");
  const auto data = open_dataset(root.string());
  ASSERT_EQ(data->size(), 2u);
  EXPECT_EQ(data->get(0).image, "one");
  EXPECT_EQ(data->get(1).image, "two");
  fs::remove(folder.path() / "elsewhere" / "2.jpg");
  EXPECT_THAT([&] { open_dataset(root.string()); }, ThrowsMessage<Error>(HasSubstr("dog/2.jpg: is a broken link")));
}

/// A table's images are often in a folder beside it.
TEST(ClassFolders, AreRefusedIfATableDescribesTheirImages) {
  TemporaryFolder folder;
  write(folder.path() / "images" / "1.jpg", "one");
  EXPECT_EQ(open_dataset(folder.path().string())->size(), 1u);
  write(folder.path() / "classes.tsv", "images\tcat\n");
  EXPECT_EQ(open_dataset(folder.path().string())->size(), 1u);
  write(folder.path() / "train.csv", "image,caption\n1.jpg,a cat\n");
  EXPECT_THAT([&] { open_dataset(folder.path().string()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("images of one class, \"cat\""), HasSubstr("train.csv"))));
  fs::remove(folder.path() / "classes.tsv");
  write(folder.path() / "annotations" / "train.json", "{}");  // as in COCO: no class, since it has no images
  EXPECT_THAT([&] { open_dataset(folder.path().string()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("images of one class, \"images\""), HasSubstr("train.csv"))));
  write(folder.path() / "test" / "2.jpg", "two");
  testing::internal::CaptureStderr();
  EXPECT_EQ(open_dataset(folder.path().string())->size(), 2u);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("train.csv is not read"));
}

/// img2dataset writes such folders by default; each is a shard, not a class.
TEST(ClassFolders, AreRefusedIfCaptionsAreBesideTheirImages) {
  TemporaryFolder folder;
  for (const char* name : {"00000/000000000", "00001/000010000"}) {
    write(folder.path() / (std::string(name) + ".jpg"), "image");
    write(folder.path() / (std::string(name) + ".txt"), "a caption");
  }
  const auto open = [&] { return open_dataset(folder.path().string()); };
  EXPECT_THAT(open, ThrowsMessage<Error>(AllOf(HasSubstr("00000/000000000.txt: class folders have no captions"),
                                               HasSubstr("tar --sort=name"))));
  write(folder.path() / "classes.tsv", "00000\tcat\n00001\tdog\n");
  EXPECT_EQ(open()->size(), 2u);
  fs::remove(folder.path() / "classes.tsv");
  for (const char* name : {"00000/000000000.txt", "00001/000010000.txt"}) fs::remove(folder.path() / name);
  EXPECT_EQ(open()->size(), 2u);
  write(folder.path() / "00001" / "metadata.csv", "file_name,text\n000010000.jpg,a caption\n");
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("00001/metadata.csv: class folders have no captions")));
}

/// pandas writes missing values like this.
TEST(Datasets, LeaveOutBlankCaptions) {
  TemporaryFolder folder;
  for (const char* name : {"1.jpg", "2.jpg"}) write(folder.path() / name, name);
  const auto data =
      open_dataset(write(folder.path() / "train.csv", "image,caption\n1.jpg,\n1.jpg,a cat\n2.jpg,\" \t\"\n").string());
  EXPECT_THAT(data->get(0).captions, ElementsAre("a cat"));
  EXPECT_THAT([&] { data->get(1); }, ThrowsMessage<Error>(HasSubstr("2.jpg: has no caption")));
  EXPECT_THAT(captions_of(*data), ElementsAre("a cat"));
}

TEST(ClassFolders, TakeNamesAndOrderFromTheTable) {
  TemporaryFolder folder;
  write(folder.path() / "n01" / "1.jpg", "1");
  write(folder.path() / "n02" / "2.jpg", "2");
  write(folder.path() / "classes.tsv", "n02\tdog\thound\tdog\nn00\tabsent\nn01\tcat\n");
  const auto data = open_dataset(folder.path().string());
  EXPECT_THAT(data->class_names(), ElementsAre("dog", "absent", "cat"));
  EXPECT_EQ(data->get(0).image, "2");
  EXPECT_THAT(data->get(0).captions, ElementsAre("a photo of a dog.", "a photo of a hound.", "a photo of a dog."));
  EXPECT_EQ(data->get(1).label, 2);
  EXPECT_THAT(captions_of(*data), IsSupersetOf({"a photo of a dog.", "a photo of a hound.", "a photo of a cat."}));
}

TEST(ClassFolders, SayWhatIsWrong) {
  TemporaryFolder folder;
  const auto open = [&] { open_dataset(folder.path().string()); };
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("expected class folders")));
  write(folder.path() / "n01" / "1.jpg", "1");
  write(folder.path() / "classes.tsv", "n02\tdog\n");
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("no line for the folder n01")));
  write(folder.path() / "classes.tsv", "n01\n");
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("at least one name")));
  write(folder.path() / "classes.tsv", "n01\tx\nn01\ty\n");
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("listed twice")));
}

/// Reading a pipe would block.
TEST(Datasets, RefusePipes) {
  TemporaryFolder folder;
  write(folder.path() / "n01" / "1.jpg", "1");
  for (const char* name : {"classes.tsv", "x.tar", "x.csv", "x.parquet"}) {
    const std::string pipe = (folder.path() / name).string();
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_THAT([&] { open_dataset(name == std::string("classes.tsv") ? folder.path().string() : pipe); },
                ThrowsMessage<Error>(testing::AnyOf(HasSubstr(pipe + ": is not a regular file"),
                                                    HasSubstr("this build reads no Parquet"))))
        << name;
  }
}

TEST(Datasets, AreConcatenatedInOrder) {
  TemporaryFolder folder;
  write(folder.path() / "a" / "cat" / "1.jpg", "1");
  write(folder.path() / "a" / "dog" / "2.jpg", "2");
  write(folder.path() / "b" / "bee" / "3.jpg", "3");
  write(folder.path() / "c" / "cat" / "4.jpg", "4");
  write(folder.path() / "c" / "dog" / "5.jpg", "5");
  write(folder.path() / "t.csv", "image,caption\na/cat/1.jpg,a cat\n");
  std::vector<Source> sources;
  for (const char* name : {"a", "t.csv", "b", "c"}) sources.push_back({(folder.path() / name).string()});
  const auto data = open_datasets(sources);
  ASSERT_EQ(data->size(), 6u);
  EXPECT_THAT(data->class_names(), ElementsAre("cat", "dog", "bee"));
  std::vector<int> labels;
  std::string images;
  for (std::size_t i = 0; i < data->size(); ++i) {
    labels.push_back(data->get(i).label);
    images += data->get(i).image;
  }
  EXPECT_THAT(labels, ElementsAre(0, 1, -1, 2, 0, 1));
  EXPECT_EQ(images, "121345");
  EXPECT_THAT(captions_of(*data), IsSupersetOf({"a photo of a dog.", "a cat", "a photo of a bee."}));
  EXPECT_THROW(data->get(6), Error);
}

TEST(Datasets, RefuseOverlongCaptions) {
  TemporaryFolder folder;
  write(folder.path() / "a.jpg", "image");
  for (const auto& [repeats, fits] : {std::pair(1000, true), std::pair(20'000, false)}) {
    std::string caption = "&";
    for (int i = 0; i < repeats; ++i) caption += "amp;";
    write(folder.path() / "x.csv", "image,caption\na.jpg," + caption + "\n");
    const auto data = open_dataset((folder.path() / "x.csv").string());
    if (fits)
      EXPECT_EQ(data->get(0).captions[0], caption);
    else
      EXPECT_THAT([&] { data->get(0); }, ThrowsMessage<Error>(HasSubstr("a.jpg: a caption of 80001 bytes")));
  }
}

TEST(Datasets, RefuseUnknownKinds) {
  TemporaryFolder folder;
  write(folder.path() / "x.zip", "");
  EXPECT_THAT([&] { open_dataset((folder.path() / "x.zip").string()); }, ThrowsMessage<Error>(HasSubstr("expected")));
  EXPECT_THAT([&] { open_dataset((folder.path() / "none.tar").string()); },
              ThrowsMessage<Error>(HasSubstr("does not exist")));
}

std::vector<std::string> expand_in(const TemporaryFolder& folder, const std::string& pattern) {
  std::vector<std::string> names;
  for (const auto& path : expand_pattern((folder.path() / pattern).string()))
    names.push_back(path.lexically_relative(folder.path()).string());
  return names;
}

TEST(Pattern, ExpandsRangesListsAndGlobs) {
  TemporaryFolder folder;
  for (const char* name : {"s-08.tar", "s-09.tar", "s-10.tar", "s-8.tar", "x{1}.tar", "deep/s-08.tar"})
    write(folder.path() / name, "");
  EXPECT_THAT(expand_in(folder, "s-{08..10}.tar"), ElementsAre("s-08.tar", "s-09.tar", "s-10.tar"));
  EXPECT_THAT(expand_in(folder, "s-{8..8}.tar"), ElementsAre("s-8.tar"));
  EXPECT_THAT(expand_in(folder, "s-{8..09}.tar"), ElementsAre("s-08.tar", "s-09.tar"));
  EXPECT_THAT([&] { expand_in(folder, "s-{00..100}.tar"); }, ThrowsMessage<Error>(HasSubstr("s-000.tar: does not")));
  EXPECT_THAT(expand_in(folder, "s-{09,08}.tar"), ElementsAre("s-08.tar", "s-09.tar"));
  EXPECT_THAT(expand_in(folder, "{,deep/}s-{0{8,8}}.tar"), testing::SizeIs(4));
  std::string longer_than_a_name = "08";
  for (int i = 1; i < 100; ++i) longer_than_a_name += ",08";
  EXPECT_THAT(expand_in(folder, "s-{" + longer_than_a_name + "}.tar"), testing::SizeIs(100));
  EXPECT_THAT([&] { open_dataset((folder.path() / ("t-{" + longer_than_a_name + "}.tar")).string()); },
              ThrowsMessage<Error>(HasSubstr("t-08.tar: does not exist")));
}

TEST(Pattern, RefusesMissingFilesAndBadRanges) {
  TemporaryFolder folder;
  write(folder.path() / "s-1.tar", "");
  EXPECT_THAT([&] { expand_in(folder, "t-*.tar"); }, ThrowsMessage<Error>(HasSubstr("matches no file")));
  EXPECT_THAT([&] { expand_in(folder, "s-{1..2}.tar"); }, ThrowsMessage<Error>(HasSubstr("s-2.tar: does not exist")));
  EXPECT_THAT([&] { expand_in(folder, "s-{2..1}.tar"); }, ThrowsMessage<Error>(HasSubstr("backwards")));
  EXPECT_THAT([&] { expand_in(folder, "{0..9}{0..999999999999}"); }, ThrowsMessage<Error>(HasSubstr("more than")));
}

TEST(Pattern, TakesAnExistingFilesNameLiterally) {
  TemporaryFolder folder;
  write(folder.path() / "x{1,2}[a].tar", "");
  EXPECT_THAT(expand_in(folder, "x{1,2}[a].tar"), ElementsAre("x{1,2}[a].tar"));
  write(folder.path() / "y1[a].tar", "");
  EXPECT_THAT(expand_in(folder, "y{1,1}[a].tar"), ElementsAre("y1[a].tar", "y1[a].tar"));
}

TEST(ClassFolders, HaveTheirImagesInTheOrderOfTheirNames) {
  TemporaryFolder folder;
  for (int i = 0; i < 90; ++i) {
    const std::string name = std::to_string(10 + i * 37 % 90);
    write(folder.path() / "a" / (name + ".jpg"), name);
  }
  const auto data = open_dataset(folder.path().string());
  for (std::size_t i = 0; i < 90; ++i) EXPECT_EQ(data->get(i).image, std::to_string(10 + i));
}

TEST(Datasets, RefuseAMixOfFileKinds) {
  TemporaryFolder folder;
  write(folder.path() / "t.csv", "image,caption\nx.jpg,a\n");
  write(folder.path() / "t.tsv", "image\tcaption\nx.jpg\ta\n");
  EXPECT_THAT([&] { open_dataset((folder.path() / "t.*").string()); },
              ThrowsMessage<Error>(HasSubstr("several kinds")));
}

TEST(Datasets, SkipOverlongCaptionsWhenTrainingAVocabulary) {
  TemporaryFolder folder;
  const auto table = write(folder.path() / "t.csv", "image,caption\nx.jpg,a\ny.jpg," + std::string(70'000, 'x') + "\n");
  EXPECT_THAT(captions_of(*open_dataset(table.string())), ElementsAre("a"));
}

}  // namespace
}  // namespace gondola
