#include "data/csv.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "base/error.h"
#include "data/dataset.h"
#include "tests/data/support.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using test::golden;
using test::TemporaryFolder;
using test::write;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Rows = std::vector<std::vector<std::string>>;

Rows read_rows(std::string_view text) {
  CsvReader reader(text, ',', "test");
  Rows rows;
  for (std::vector<std::string> fields; reader.next(fields);) rows.push_back(fields);
  return rows;
}

TEST(Csv, ReadsWhatPythonWrote) {
  const auto rows = test::expected_data().at("rows").get<std::vector<std::pair<std::string, std::string>>>();
  for (const auto& [name, separator] : {std::pair("table.csv", ','), std::pair("table.tsv", '\t')}) {
    const std::string text = read_file(golden("data") / name);
    CsvReader reader(text, separator, name);
    std::vector<std::string> fields;
    ASSERT_TRUE(reader.next(fields));
    EXPECT_THAT(fields, ElementsAre("id", "caption", "image"));
    for (const auto& [image, caption] : rows) {
      ASSERT_TRUE(reader.next(fields));
      EXPECT_EQ(fields.at(1), caption);
      EXPECT_EQ(fields.at(2), image);
    }
    EXPECT_FALSE(reader.next(fields));
  }
}

TEST(Csv, TakesEveryLineEnd) {
  EXPECT_EQ(read_rows("a,b\nc,d\r\ne,\rf,g"), (Rows{{"a", "b"}, {"c", "d"}, {"e", ""}, {"f", "g"}}));
  EXPECT_EQ(read_rows("\n\r\n"), Rows{});
  EXPECT_EQ(read_rows("a\n\nb\n"), (Rows{{"a"}, {"b"}}));
}

TEST(Csv, TakesQuotesInsideAnUnquotedFieldAsText) {
  EXPECT_EQ(read_rows("a \"b\",c"), (Rows{{"a \"b\"", "c"}}));
}

/// Captions of the web are often written without doubling their quotes.
TEST(Csv, ReadsTextAfterAClosingQuoteAsPythonDoes) {
  EXPECT_EQ(read_rows("\"a\" b \"c\",d\n\"e\"\"f\"g\n"), (Rows{{"a b \"c\"", "d"}, {"e\"fg"}}));
}

TEST(Csv, NamesTheLineOfAQuoteThatIsNotClosed) {
  EXPECT_THAT([] { read_rows("a\n\"b\nc"); }, ThrowsMessage<Error>(HasSubstr("line 2")));
  EXPECT_THAT([] { read_rows("a\nx\n\"b\",\"c"); }, ThrowsMessage<Error>(HasSubstr("line 3")));
}

TEST(CsvDataset, GroupsTheRowsOfAnImage) {
  TemporaryFolder folder;
  for (const char* name : {"table.csv", "table.tsv"}) {
    std::filesystem::copy_file(golden("data") / name, folder.path() / name);
    write(folder.path() / "a.jpg", "bytes of a");
    write(folder.path() / "images" / "b.jpg", "bytes of b");
    const auto data = open_dataset((folder.path() / name).string());
    EXPECT_EQ(data->size(), 6u);
    const Sample a = data->get(0), b = data->get(1);
    EXPECT_EQ(a.image, "bytes of a");
    EXPECT_THAT(a.captions, ElementsAre("plain", "second", ","));
    EXPECT_EQ(b.image, "bytes of b");
    EXPECT_THAT(b.captions, ElementsAre("says \"hello\", twice"));
    EXPECT_EQ(b.label, -1);
    EXPECT_THAT([&] { data->get(2); }, ThrowsMessage<Error>(HasSubstr("c d.jpg")));
    EXPECT_THROW(data->get(6), Error);
  }
}

TEST(CsvDataset, VisitsEveryCaption) {
  std::vector<std::string> wanted;
  const Json expected = test::expected_data();
  for (const auto& row : expected.at("rows"))
    if (row.at(1) != "") wanted.push_back(row.at(1));
  EXPECT_THAT(test::captions_of(*open_dataset(golden("data/table.csv").string())),
              testing::UnorderedElementsAreArray(wanted));
}

TEST(CsvDataset, SkipsAByteOrderMark) {
  TemporaryFolder folder;
  write(folder.path() / "t.csv", "\xef\xbb\xbfimage,caption\nx.jpg,cat\n");
  EXPECT_EQ(open_dataset((folder.path() / "t.csv").string())->size(), 1u);
}

TEST(CsvDataset, SaysWhatIsWrong) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.csv").string();
  const auto message_for = [&](const std::string& text) {
    write(path, text);
    try {
      open_dataset(path);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message_for(""), HasSubstr("empty"));
  EXPECT_THAT(message_for("file,caption\nx,y\n"), HasSubstr("found file, caption"));
  EXPECT_THAT(message_for("image,caption\n"), HasSubstr("no rows"));
  EXPECT_THAT(message_for("image,caption\nx.jpg\n"), HasSubstr("t.csv: line 2: 1 fields, expected 2"));
  EXPECT_THAT(message_for("image,caption\nx.jpg,a cat, a dog\n"), HasSubstr("line 2: 3 fields, expected 2"));
  EXPECT_THAT(message_for("image,caption\nx,\"y\nz\"\n,y\n"), HasSubstr("t.csv: line 4: no image"));
  EXPECT_THAT(message_for("image,caption\nx,caf\xe9\n"), HasSubstr("t.csv: line 2: the caption is not UTF-8"));
}

/// Overwritten in place, as by cp.
TEST(CsvDataset, ReportsThatTheFileHasChanged) {
  TemporaryFolder folder;
  const std::string text = "image,caption\na.jpg,one\nb.jpg,two\n";
  const auto path = write(folder.path() / "t.csv", text);
  const auto data = open_dataset(path.string());
  write(path, std::string(text.size(), '\n'));
  EXPECT_THAT([&] { data->get(1); }, ThrowsMessage<Error>(HasSubstr("t.csv: has changed: no row at byte 24")));
  EXPECT_THAT([&] { test::captions_of(*data); }, ThrowsMessage<Error>(HasSubstr("t.csv: has changed")));
}

/// Reading a pipe would block.
TEST(CsvDataset, RefusesPipesAsImages) {
  TemporaryFolder folder;
  const auto path = write(folder.path() / "t.csv", "image,caption\npipe,a text\n");
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  const auto data = open_dataset(path.string());
  EXPECT_THAT([&] { data->get(0); }, ThrowsMessage<Error>(HasSubstr("pipe: is not a regular file")));
}

TEST(CsvDataset, ReportsAnOverlongImageNameAsNotFound) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.csv").string();
  write(path, "image,caption\n" + std::string(5000, 'x') + ",a text\n");
  EXPECT_THAT([&] { open_dataset(path)->get(0); }, ThrowsMessage<Error>(HasSubstr("not found, neither as")));
}

TEST(CsvDataset, SurvivesDamage) {
  TemporaryFolder folder;
  const std::string text = read_file(golden("data/table.csv")), path = (folder.path() / "t.csv").string();
  int opened = 0;
  for (std::uint64_t number = 0; number < 3000; ++number) {
    write(path, test::mutate(text, number));
    try {
      const auto data = open_dataset(path);
      data->for_each_caption([](std::string_view) {});
      ++opened;
      for (std::size_t i = 0; i < data->size(); ++i) data->get(i);
    } catch (const Error&) {
    }
  }
  EXPECT_GT(opened, 300);  // most damage leaves a readable table
}

TEST(CsvDataset, ReadsFlickr8k) {
  GONDOLA_NEEDS_TEST_DATA("flickr8k-1000");
  const auto data = open_dataset((test::test_data() / "flickr8k-1000" / "captions.csv").string());
  ASSERT_EQ(data->size(), 1000u);
  for (std::size_t i = 0; i < data->size(); ++i) {
    const Sample sample = data->get(i);
    EXPECT_EQ(sample.captions.size(), 5u);
    EXPECT_TRUE(sample.image.starts_with("\xff\xd8\xff")) << sample.key;
  }
}

}  // namespace
}  // namespace gondola
