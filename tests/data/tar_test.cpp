#include "data/tar.h"

#include <gmock/gmock.h>

#include <numeric>
#include <optional>

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

constexpr const char* formats[] = {"ustar", "gnu", "pax"};

TEST(Tar, FindsTheMembersThatPythonFinds) {
  for (const char* format : formats) {
    const auto wanted = test::expected_data().at("members").at(format);
    const RandomAccessFile file(golden(fmt::format("data/{}.tar", format)));
    TarReader reader(file);
    TarMember member;
    for (const Json& one : wanted) {
      ASSERT_TRUE(reader.next(member));
      EXPECT_EQ(member.name, one.at(0));
      EXPECT_EQ(member.data, one.at(1));
      EXPECT_EQ(member.size, one.at(2));
    }
    EXPECT_FALSE(reader.next(member));
  }
}

TEST(Tar, SaysThatAFileIsNotATar) {
  TemporaryFolder folder;
  const auto path = folder.path() / "t.tar";
  const auto open = [&] { open_dataset(path.string()); };
  write(path, std::string(1024, 'x'));
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("no tar header at byte 0")));
  write(path, "short");
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("ends at byte 5")));
  write(path, "");
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("none of the 0 samples")));
}

TEST(Tar, ChecksAMembersSizeAgainstTheFile) {
  TemporaryFolder folder;
  const std::string whole = read_file(golden("data/gnu.tar"));
  write(folder.path() / "t.tar", whole.substr(0, 512 + 5));  // the header of the first member and 5 of its 11 bytes
  EXPECT_THAT([&] { open_dataset((folder.path() / "t.tar").string()); },
              ThrowsMessage<Error>(HasSubstr("11 bytes, of which the file holds 5")));
}

/// A pre-POSIX header; with `binary`, its size is in GNU tar's binary form.
std::string old_header(const std::string& name, std::uint64_t size, bool binary, char type = '\0') {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header[156] = type;
  if (binary) {
    header[124] = '\x80';
    for (int i = 0; i < 8; ++i) header[124 + 11 - i] = static_cast<char>(size >> (8 * i));
  } else {
    header.replace(124, 11, fmt::format("{:011o}", size));
  }
  header.replace(148, 8, "        ");
  int sum = 0;
  for (char byte : header) sum += static_cast<unsigned char>(byte);
  header.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return header;
}

/// A header and its padded content, possibly with another type or with a claimed size.
std::string member(const std::string& name, const std::string& content, char type = '0',
                   std::optional<std::size_t> claimed = {}) {
  return old_header(name, claimed.value_or(content.size()), /*binary=*/false, type) + content +
         std::string((512 - content.size() % 512) % 512, '\0');
}

TEST(Tar, ReadsOldHeadersAndBinarySizes) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.tar").string();
  std::string content(512, '\0');
  content.replace(0, 5, "image");
  write(path, old_header("a.jpg", 5, true) + content + old_header("a.txt", 5, false) + content);
  const Sample sample = open_dataset(path)->get(0);
  EXPECT_EQ(sample.image, "image");
  EXPECT_THAT(sample.captions, ElementsAre("image"));

  write(path, old_header("a.jpg", ~std::uint64_t{0} - 100, true) + content);
  EXPECT_THROW(open_dataset(path), Error);
}

TEST(WebDataset, GroupsMembersIntoSamples) {
  for (const char* format : formats) {
    const auto data = open_dataset(golden(fmt::format("data/{}.tar", format)).string());
    ASSERT_EQ(data->size(), format == std::string("ustar") ? 5u : 7u);
    const Sample first = data->get(0), second = data->get(1), third = data->get(2), fourth = data->get(3);
    EXPECT_THAT(first.key, testing::EndsWith(":000"));
    EXPECT_EQ(first.image, "first image");
    EXPECT_THAT(first.captions, ElementsAre("a caption"));
    EXPECT_EQ(second.image, std::string(513, 'x'));
    EXPECT_THAT(second.captions, ElementsAre("from \u00e9 json"));
    EXPECT_EQ(third.image, "");
    EXPECT_THAT(third.captions, ElementsAre("na\u00efve \U0001f408"));
    EXPECT_EQ(fourth.image, "image");
    EXPECT_THAT(fourth.captions, ElementsAre("one", "two"));
    EXPECT_EQ(data->get(4).image, "long");
    EXPECT_THROW(data->get(data->size()), Error);
  }
  const auto data = open_dataset(golden("data/pax.tar").string());
  EXPECT_EQ(data->get(5).image, "longer");
  EXPECT_THAT(data->get(6).key, testing::EndsWith("caf\u00e9"));
}

TEST(WebDataset, ReadsSeveralShardsInOrder) {
  TemporaryFolder folder;
  std::filesystem::copy_file(golden("data/gnu.tar"), folder.path() / "s-00.tar");
  std::filesystem::copy_file(golden("data/ustar.tar"), folder.path() / "s-01.tar");
  for (const char* pattern : {"s-{00..01}.tar", "s-*.tar", "s-{00,01}.tar"}) {
    const auto data = open_dataset((folder.path() / pattern).string());
    const std::vector<Part> parts = data->parts();
    ASSERT_EQ(parts.size(), 1u);
    EXPECT_THAT(parts[0].shards, testing::SizeIs(testing::Gt(1)));
    EXPECT_EQ(std::accumulate(parts[0].shards.begin(), parts[0].shards.end(), std::size_t{0}), data->size());
    ASSERT_EQ(data->size(), 12u);
    EXPECT_EQ(data->get(7).image, "first image");
    const std::vector<std::string> captions = test::captions_of(*data);
    ASSERT_EQ(captions.size(), 14u);
    EXPECT_EQ(captions[3], "one");
    EXPECT_EQ(captions[8], "a caption");
  }
}

TEST(WebDataset, TakesTheNumberOfSamplesFromSizesJson) {
  TemporaryFolder folder;
  const std::string shards = (folder.path() / "s-{00..01}.tar").string();
  std::filesystem::copy_file(golden("data/gnu.tar"), folder.path() / "s-00.tar");
  std::filesystem::copy_file(golden("data/ustar.tar"), folder.path() / "s-01.tar");
  write(folder.path() / "sizes.json", R"({"s-00.tar": 7, "s-01.tar": 6, "s-02.tar": 9})");
  const auto data = open_dataset(shards);
  ASSERT_EQ(data->size(), 13u);
  EXPECT_EQ(data->get(7).image, "first image");
  EXPECT_EQ(data->get(11).image, "long");
  EXPECT_THAT([&] { data->get(12); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("s-01.tar: has 5 samples, sizes.json says 6")));
  EXPECT_THAT(test::captions_of(*data), testing::SizeIs(14));  // missing parts stop nothing
  write(folder.path() / "sizes.json", R"({"s-00.tar": 7, "s-01.tar": 4000000000})");
  EXPECT_THROW(open_dataset(shards), Error);
  write(folder.path() / "sizes.json", R"({"s-00.tar": 7})");
  EXPECT_THAT([&] { open_dataset(shards); }, testing::ThrowsMessage<Error>(testing::HasSubstr("samples of s-01.tar")));
}

TEST(WebDataset, RefusesSizesLargerThanTheFile) {
  TemporaryFolder folder;
  const auto path = folder.path() / "s.tar";
  std::filesystem::copy_file(golden("data/ustar.tar"), path);
  write(folder.path() / "sizes.json", R"({"s.tar": 2000000})");
  EXPECT_THAT([&] { open_dataset(path.string()); },
              ThrowsMessage<Error>(HasSubstr("sizes.json: s.tar cannot have 2000000 samples")));
  std::filesystem::resize_file(path, std::uintmax_t{2'000'000} * 1024);  // a hole, which takes no room on the disk
  EXPECT_EQ(open_dataset(path.string())->size(), 2'000'000u);
}

TEST(WebDataset, SurvivesDamage) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.tar").string();
  int opened = 0;
  for (const char* format : formats) {
    const std::string bytes = read_file(golden(fmt::format("data/{}.tar", format)));
    for (std::uint64_t number = 0; number < 2000; ++number) {
      write(path, test::mutate(bytes, number));
      try {
        const auto data = open_dataset(path);
        ++opened;
        for (std::size_t i = 0; i < data->size(); ++i) data->get(i);
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(opened, 1000);  // damage to a member's bytes leaves a readable archive
}

TEST(WebDataset, SalvagesSamplesFromADamagedShard) {
  TemporaryFolder folder;
  const std::string whole = read_file(test::golden("data/ustar.tar"));
  write(folder.path() / "a.tar", whole.substr(0, whole.size() * 2 / 3));
  write(folder.path() / "b.tar", whole);
  write(folder.path() / "c.tar", std::string(2000, 'x'));
  const auto of_one = open_dataset((folder.path() / "b.tar").string());
  const auto data = open_dataset((folder.path() / "{a,b,c}.tar").string());
  ASSERT_GT(data->size(), of_one->size());
  ASSERT_LT(data->size(), 2 * of_one->size());
  const std::size_t of_damaged = data->size() - of_one->size();
  for (std::size_t i = 0; i < data->size(); ++i) {
    const Sample sample = data->get(i), expected = of_one->get(i < of_damaged ? i : i - of_damaged);
    EXPECT_EQ(sample.image, expected.image);
    EXPECT_EQ(sample.captions, expected.captions);
  }
}

TEST(WebDataset, KeepsEveryCompleteSampleBeforeTheDamage) {
  // The members of the samples 000, 001 and 002 end at bytes 2,048, 4,608 and 7,168.
  TemporaryFolder folder;
  const std::string whole = read_file(test::golden("data/ustar.tar")), path = (folder.path() / "cut.tar").string();
  for (const auto& [size, samples] : {std::pair(2500, 1), {4700, 2}, {6660, 2}, {7300, 3}, {8400, 3}, {9000, 3}}) {
    write(path, whole.substr(0, static_cast<std::size_t>(size)));
    EXPECT_EQ(open_dataset(path)->size(), static_cast<std::size_t>(samples)) << size;
  }
}

/// img2dataset writes both, and puts all that it knows about a picture into the JSON.
TEST(WebDataset, PrefersTheTextToTheJson) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.tar").string();
  write(path, member("a.jpg", "") + member("a.json", "{}") + member("a.txt", "it"));
  EXPECT_THAT(open_dataset(path)->get(0).captions, ElementsAre("it"));
}

TEST(WebDataset, NamesAWrongCaption) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.tar").string();
  const auto with_json = [&](const std::string& json) {
    write(path, member("a.jpg", "") + member("a.json", json));
    return open_dataset(path);
  };
  EXPECT_THAT([&] { with_json("{\"caption\": 3}")->get(0); }, ThrowsMessage<Error>(HasSubstr("a.json: \"caption\"")));
  EXPECT_THAT([&] { with_json("{}")->get(0); }, ThrowsMessage<Error>(HasSubstr("expected \"caption\" or \"text\"")));
  EXPECT_THAT([&] { with_json("[1")->get(0); }, ThrowsMessage<Error>(HasSubstr("not valid JSON")));
}

TEST(WebDataset, JsonSurvivesDamage) {
  TemporaryFolder folder;
  const std::string path = (folder.path() / "t.tar").string();
  const std::string json = R"({"id": [1, 2.5e3, {"x": null}], "caption": "a \u00e9 \"b\"", "ok": true})";
  int read = 0;
  for (std::uint64_t number = 0; number < 3000; ++number) {
    write(path, member("a.jpg", "") + member("a.json", test::mutate(json, number)));
    const auto data = open_dataset(path);
    try {
      EXPECT_FALSE(data->get(0).captions.empty());
      ++read;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(read, 20);
}

TEST(WebDataset, FindsTheImagesOfClipRetrieval) {
  GONDOLA_NEEDS_TEST_DATA("webdataset-samples");
  const auto path = test::test_data() / "webdataset-samples" / "image1.tar";
  EXPECT_THAT([&] { open_dataset(path.string()); }, ThrowsMessage<Error>(HasSubstr("none of the 4 samples")));
  const RandomAccessFile file(path);
  TarReader reader(file);
  std::vector<std::string> names;
  for (TarMember member; reader.next(member); names.push_back(member.name))
    EXPECT_TRUE(file.read(member.data, 3) == "\xff\xd8\xff");
  EXPECT_THAT(names, ElementsAre("123_456.jpg", "208_495.jpg", "321_421.jpg", "389_535.jpg"));
}

/// A pax record, which begins with its own length.
std::string pax(const std::string& key_value) {
  for (std::size_t length = key_value.size() + 3;; ++length)
    if (const std::string record = fmt::format("{} {}\n", length, key_value); record.size() == length)
      return member("pax", record, 'x');
}

class Shard : public testing::Test {
 protected:
  std::unique_ptr<Dataset> open(const std::string& bytes) {
    return open_dataset(write(folder_.path() / "t.tar", bytes).string());
  }
  const std::string image_ = member("1.jpg", "image"), text_ = member("1.txt", "text");
  TemporaryFolder folder_;
};

TEST_F(Shard, DoesNotApplyAFoldersLongNameToTheNextFile) {
  const auto data =
      open(member("././@LongLink", "a/long/name/of/a/folder", 'L') + member("a/long/na", "", '5') + image_ + text_);
  EXPECT_EQ(data->size(), 1u);
  EXPECT_EQ(data->get(0).image, "image");
}

TEST_F(Shard, InterpretsSizesByTheTypeOfMember) {
  EXPECT_THAT(open(image_ + member("link", "", '1', 600) + text_)->get(0).captions, ElementsAre("text"));
  EXPECT_EQ(open(pax("size=5") + member("1.jpg", "image", '0', 0) + text_)->get(0).image, "image");
  EXPECT_THAT([&] { open(pax("GNU.sparse.major=1") + image_ + text_); }, ThrowsMessage<Error>(HasSubstr("sparse")));
}

TEST_F(Shard, GroupsByTheNameUpToItsFirstDot) {
  EXPECT_THAT([&] { open(member("1.seg.jpg", "mask") + member("1.seg.txt", "text")); },
              ThrowsMessage<Error>(HasSubstr("none of the 1 samples")));
  EXPECT_EQ(open(image_ + member("1.png", "another") + text_)->get(0).image, "image");
}

TEST_F(Shard, PrefersTheCaptionKeyAndRefusesInvalidUtf8) {
  EXPECT_THAT(open(image_ + member("1.json", R"({"text": "other", "caption": "it"})"))->get(0).captions,
              ElementsAre("it"));
  EXPECT_THAT([&] { open(image_ + member("1.txt", "\xff"))->get(0); },
              ThrowsMessage<Error>(HasSubstr("1.txt: is not UTF-8")));
}

/// At first, the file was still being copied.
TEST_F(Shard, IsReadAgainWhenItIsWhole) {
  const std::string whole = read_file(golden("data/ustar.tar"));
  write(folder_.path() / "sizes.json", R"({"t.tar": 5})");
  const auto data = open(whole.substr(0, 2500));
  EXPECT_THROW(data->get(4), Error);
  write(folder_.path() / "t.tar", whole);
  EXPECT_EQ(data->get(4).image, "long");
}

}  // namespace
}  // namespace gondola
