// Parquet files as data sets, compared with the tables that pyarrow wrote.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/error.h"
#include "data/dataset.h"
#include "tests/data/support.h"
#include "tests/support/mutate.h"
#include "tests/support/python.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using test::write;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

class ParquetDataset : public testing::Test {
 protected:
  static std::unique_ptr<Dataset> open(const std::string& name) {
    return open_dataset(test::golden("data/" + name).string());
  }
  void SetUp() override {
    try {
      open("paths.parquet");
    } catch (const Error& error) {
      if (std::string(error.what()).find("reads no Parquet") != std::string::npos) GTEST_SKIP() << error.what();
      throw;
    }
  }
};

TEST_F(ParquetDataset, WithPathsEqualsTheSameTableAsCsv) {
  TemporaryFolder folder;
  const auto csv = open("table.csv");
  for (const char* name : {"paths.parquet", "codes.parquet", "views.parquet"}) {
    write(folder.path() / name, read_file(test::golden(std::string("data/") + name)));
    for (char image = 'a'; image <= 'g'; ++image)
      write(folder.path() / "images" / (image == 'c' ? "c d.jpg" : std::string{image} + ".jpg"), std::string{image});
    const auto data = open_dataset((folder.path() / name).string());
    ASSERT_EQ(data->size(), csv->size());
    EXPECT_THAT(data->get(0).captions, ElementsAre("plain", "second", ","));
    EXPECT_EQ(data->get(0).image, "a");
    EXPECT_THAT(data->get(2).captions, ElementsAre("two\nlines\r\nand more"));
    EXPECT_EQ(data->get(2).key, (folder.path() / "images" / "c d.jpg").string());
    EXPECT_THAT(test::captions_of(*data), testing::UnorderedElementsAreArray(test::captions_of(*csv)));
  }
  EXPECT_THAT([&] { open("paths.parquet")->get(0); }, ThrowsMessage<Error>(HasSubstr("a.jpg not found, neither as")));
}

TEST_F(ParquetDataset, WithImagesReadsRowGroupsAsShards) {
  const auto data = open("structs.parquet");
  ASSERT_EQ(data->size(), 5u);
  ASSERT_THAT(data->parts(), testing::SizeIs(1));
  EXPECT_THAT(data->parts()[0].shards, ElementsAre(2, 2, 1));
  for (const std::size_t i : {4, 0, 1}) {
    EXPECT_EQ(data->get(i).image, fmt::format("bytes of {}", i));
    EXPECT_THAT(data->get(i).captions, ElementsAre(fmt::format("text {}", i)));
  }
  EXPECT_THAT(test::captions_of(*data), ElementsAre("text 0", "text 1", "text 3", "text 4"));
  EXPECT_THAT([&] { data->get(2); }, ThrowsMessage<Error>(HasSubstr("row 2 has no caption")));
  EXPECT_THAT([&] { data->get(3); }, ThrowsMessage<Error>(HasSubstr("row 3 has no image")));
  EXPECT_THROW(data->get(5), Error);
}

TEST_F(ParquetDataset, TakesListsOfCaptions) {
  const auto data = open("bytes.parquet");
  EXPECT_EQ(data->get(4).image, "bytes of 4");
  EXPECT_THAT(data->get(0).captions, ElementsAre("one", "two"));
  EXPECT_THROW(data->get(2), Error);
  for (const char* kind : {"large", "fixed"}) {
    const auto lists = open(fmt::format("{}_lists.parquet", kind));
    ASSERT_EQ(lists->size(), 3u) << kind;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(lists->get(static_cast<std::size_t>(i)).image, fmt::format("{}", i)) << kind;
      EXPECT_THAT(lists->get(static_cast<std::size_t>(i)).captions,
                  ElementsAre(fmt::format("{} a", i), fmt::format("{} b", i)))
          << kind;
    }
    EXPECT_THAT(test::captions_of(*lists), ElementsAre("0 a", "0 b", "1 a", "1 b", "2 a", "2 b")) << kind;
  }
}

TEST_F(ParquetDataset, CombinesTheFilesOfASetIntoOnePart) {
  TemporaryFolder folder;
  for (const char* name : {"structs", "bytes"})
    fs::copy_file(test::golden(fmt::format("data/{}.parquet", name)), folder.path() / (std::string(name) + ".parquet"));
  const auto data = open_dataset((folder.path() / "*.parquet").string());  // bytes before structs
  const auto first = open("bytes.parquet"), second = open("structs.parquet");
  ASSERT_EQ(data->size(), first->size() + second->size());
  ASSERT_THAT(data->parts(), testing::SizeIs(1));
  EXPECT_EQ(data->parts()[0].shards.size(), first->parts()[0].shards.size() + 3);
  const std::size_t last = second->size() - 1;
  EXPECT_EQ(data->get(first->size() + last).captions, second->get(last).captions);
  EXPECT_EQ(data->get(first->size() + last).key,
            fmt::format("{}:{}", (folder.path() / "structs.parquet").string(), last));
  EXPECT_EQ(data->get(0).captions, first->get(0).captions);
}

TEST_F(ParquetDataset, ResolvesPathsRelativeToTheirOwnFile) {
  TemporaryFolder folder;
  for (const char* part : {"a", "b"}) {
    write(folder.path() / part / "x.parquet", read_file(test::golden("data/paths.parquet")));
    write(folder.path() / part / "a.jpg", std::string("of ") + part);
  }
  const auto data = open_dataset((folder.path() / "{a,b}" / "x.parquet").string());
  const std::size_t size = open("paths.parquet")->size();
  ASSERT_EQ(data->size(), 2 * size);
  EXPECT_EQ(data->get(0).image, "of a");
  EXPECT_EQ(data->get(size).image, "of b");
}

/// Their columns have no type, like those of an empty table in Python.
TEST_F(ParquetDataset, IgnoresEmptyFilesAmongOthers) {
  TemporaryFolder folder;
  for (const char* name : {"a", "c"})
    fs::copy_file(test::golden("data/empty.parquet"), folder.path() / (std::string(name) + ".parquet"));
  EXPECT_THAT([&] { open_dataset((folder.path() / "*.parquet").string()); },
              ThrowsMessage<Error>(HasSubstr("no rows")));
  write(folder.path() / "a.jpg", "of a");
  fs::copy_file(test::golden("data/paths.parquet"), folder.path() / "b.parquet");
  const auto data = open_dataset((folder.path() / "*.parquet").string());
  EXPECT_EQ(data->size(), open("paths.parquet")->size());
  EXPECT_EQ(data->get(0).image, "of a");
}

TEST_F(ParquetDataset, SaysWhatIsWrong) {
  TemporaryFolder folder;
  const auto path = (folder.path() / "x.parquet").string();
  write(path, "no Parquet");
  EXPECT_THAT([&] { open_dataset(path); }, ThrowsMessage<Error>(HasSubstr("x.parquet: ")));
}

/// Writes a Python table, where same(value, rows) is a column of one value, stored once. Leaves out pyarrow's note that
/// such a column was a dictionary, as other writers do.
fs::path write_table(const fs::path& path, const std::string& columns, int row_group_size) {
  const std::string script = fmt::format(
      "import pyarrow as pa, pyarrow.parquet as pq\n"
      "same = lambda value, rows: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))\n"
      "pq.write_table(pa.table({{{}}}), '{}', row_group_size={}, store_schema=False, compression='gzip')\n",
      columns, path.string(), row_group_size);
  EXPECT_EQ(std::system(fmt::format("'{}' -c \"{}\"", test::python.string(), script).c_str()), 0);
  return path;
}

/// A file of one and a half kilobytes may hold 3,000 rows of 3 GiB.
TEST_F(ParquetDataset, RefusesRowGroupsTooLargeToUnpack) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  TemporaryFolder folder;
  const fs::path path = folder.path() / "x.parquet";
  for (const char* columns : {"'image': same(b'x' * 2**20, 3000), 'caption': same('x', 3000)",
                              "'image': same(b'x', 3000), 'caption': same('x' * 2**20, 3000)",
                              "'image': same('x' * 2**20, 3000), 'caption': same('x', 3000)"})
    EXPECT_THAT([&] { open_dataset(write_table(path, columns, 3000).string())->get(0); },
                ThrowsMessage<Error>(AllOf(HasSubstr("x.parquet: row group 0"), HasSubstr("too much to unpack"))))
        << columns;
  const auto data =
      open_dataset(write_table(path, "'image': same(b'x' * 2**20, 100), 'caption': same('x', 100)", 100).string());
  EXPECT_EQ(data->get(99).image, std::string(1 << 20, 'x'));
}

/// Row groups are checked one after another.
TEST_F(ParquetDataset, OfPathsTakesNoMoreMemoryThanItsFileExplains) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  TemporaryFolder folder;
  const char* columns = "'image': same('x', 9 * 10**6), 'caption': same('x', 9 * 10**6)";
  EXPECT_THAT([&] { open_dataset(write_table(folder.path() / "x.parquet", columns, 1'000'000).string()); },
              ThrowsMessage<Error>(HasSubstr("x.parquet: the paths and captions of its rows take more than")));
}

TEST_F(ParquetDataset, RefusesMoreRowsThanTheFileCanHold) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  TemporaryFolder folder;
  const char* columns = "'image': same(b'x', 2 * 10**6), 'caption': same('x', 2 * 10**6)";
  EXPECT_THAT([&] { open_dataset(write_table(folder.path() / "x.parquet", columns, 2'000'000).string()); },
              ThrowsMessage<Error>(HasSubstr("x.parquet: row group 0 claims 2000000 rows")));
}

TEST_F(ParquetDataset, RefusesARowWithTooManyCaptions) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  TemporaryFolder folder;
  const auto data = open_dataset(
      write_table(folder.path() / "x.parquet", "'image': [b'x', b'y'], 'caption': [['x'], ['x'] * 10**6]", 2).string());
  EXPECT_THAT(data->get(0).captions, ElementsAre("x"));
  EXPECT_THAT([&] { data->get(1); }, ThrowsMessage<Error>(HasSubstr("the captions of a row take more than")));
}

TEST_F(ParquetDataset, SkipsUnreadableRowGroupsWhenTrainingAVocabulary) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  TemporaryFolder folder;
  const char* columns = "'image': [b'x', b'y', b'z'], 'caption': [['x'], ['y'] * 10**6, ['z']]";
  const auto data = open_dataset(write_table(folder.path() / "x.parquet", columns, 1).string());
  testing::internal::CaptureStderr();
  EXPECT_THAT(test::captions_of(*data), ElementsAre("x", "z"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("captions of row group 1 left out"));
}

/// Reading a pipe would block.
TEST_F(ParquetDataset, RefusesPipesAsImages) {
  TemporaryFolder folder;
  const auto path = write(folder.path() / "x.parquet", read_file(test::golden("data/paths.parquet")));
  ASSERT_EQ(::mkfifo((folder.path() / "a.jpg").c_str(), 0600), 0);
  const auto data = open_dataset(path.string());
  EXPECT_THAT([&] { data->get(0); }, ThrowsMessage<Error>(HasSubstr("a.jpg: is not a regular file")));
}

/// Damaged files give what they still hold, or an Error; never a crash.
TEST_F(ParquetDataset, SurvivesDamage) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "x.parquet").string();
  int opened = 0;
  for (const char* name : {"paths.parquet", "codes.parquet", "structs.parquet", "bytes.parquet"}) {
    const std::string whole = read_file(test::golden(std::string("data/") + name));
    for (std::uint64_t number = 0; number < 700; ++number) {
      write(path, test::mutate(whole, number));
      try {
        const auto data = open_dataset(path);
        ++opened;
        for (std::size_t i = 0; i < std::min<std::size_t>(data->size(), 10); ++i) {
          try {
            data->get(i);
          } catch (const Error&) {
          }
        }
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(opened, 100);
}

}  // namespace
}  // namespace gondola
