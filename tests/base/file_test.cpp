#include "base/file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "base/error.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using test::TemporaryFolder;
using test::write;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(ReadFile, ReadsAllBytes) {
  TemporaryFolder folder;
  const std::string bytes = std::string("a\0b\r\n", 5) + std::string(200'000, 'x');
  write(folder.path() / "f", bytes);
  EXPECT_EQ(read_file(folder.path() / "f"), bytes);
}

TEST(ReadFile, NamesTheFileThatItCannotRead) {
  TemporaryFolder folder;
  write(folder.path() / "f", "12345");
  EXPECT_EQ(read_file(folder.path() / "f", 5), "12345");
  EXPECT_THAT([&] { read_file(folder.path() / "f", 4); }, ThrowsMessage<Error>(HasSubstr("limit of 4 bytes")));
  EXPECT_THAT([&] { read_file(folder.path() / "none"); }, ThrowsMessage<Error>(HasSubstr("none: cannot be opened")));
  EXPECT_THAT([&] { read_file(folder.path()); }, ThrowsMessage<Error>(HasSubstr("is a folder")));
}

/// Such as a shell's <(…).
TEST(ReadFile, ReadsFromAPipe) {
  TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << "bytes"; });
  EXPECT_EQ(read_file(pipe), "bytes");
  writer.join();
}

/// Reading them could block.
TEST(ReadRegularFile, RefusesPipesDevicesAndFolders) {
  TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe", file = write(folder.path() / "file", "bytes");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink(file, folder.path() / "link");
  for (const char* name : {"file", "link"}) EXPECT_EQ(read_regular_file(folder.path() / name, 5), "bytes");
  EXPECT_THAT([&] { read_regular_file(file, 4); }, ThrowsMessage<Error>(HasSubstr("limit of 4 bytes")));
  for (const auto& path : {pipe, std::filesystem::path("/dev/zero")}) {
    EXPECT_THAT([&] { read_regular_file(path, 5); }, ThrowsMessage<Error>(HasSubstr("is not a regular file"))) << path;
    EXPECT_THAT([&] { check_regular_file(path); }, ThrowsMessage<Error>(HasSubstr("is not a regular file"))) << path;
  }
  EXPECT_THAT([&] { check_regular_file(folder.path()); }, ThrowsMessage<Error>(HasSubstr("is a folder")));
  EXPECT_NO_THROW(check_regular_file(file));
}

TEST(ReadLines, HandlesBothLineEndingsAndAByteOrderMark) {
  TemporaryFolder folder;
  write(folder.path() / "f", "one\r\n\ntwo \nthree");
  EXPECT_THAT(read_lines(folder.path() / "f"), ElementsAre("one", "", "two ", "three"));
  write(folder.path() / "f", "one\n");
  EXPECT_THAT(read_lines(folder.path() / "f"), ElementsAre("one"));
  for (const char* empty : {"", "\xef\xbb\xbf"}) {
    write(folder.path() / "f", empty);
    EXPECT_THAT(read_lines(folder.path() / "f"), ElementsAre());
  }
  write(folder.path() / "f", "\xef\xbb\xbfone\r\n\xef\xbb\xbftwo");
  EXPECT_THAT(read_lines(folder.path() / "f"), ElementsAre("one", "\xef\xbb\xbftwo"));
  EXPECT_THAT([&] { read_lines(folder.path() / "none"); }, ThrowsMessage<Error>(HasSubstr("none: cannot be opened")));
  EXPECT_THAT([&] { read_lines(folder.path()); }, ThrowsMessage<Error>(HasSubstr("is a folder")));
}

TEST(WriteFileAtomically, ReplacesAFileAndLeavesNothingElse) {
  TemporaryFolder folder;
  for (const std::string& bytes : {std::string("first, the longer one"), std::string("second")}) {
    write_file_atomically(folder.path() / "f", bytes);
    EXPECT_EQ(read_file(folder.path() / "f"), bytes);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(WriteFileAtomically, AcceptsTheLongestFileName) {
  TemporaryFolder folder;
  const std::string longest(255, 'x');
  write_file_atomically(folder.path() / longest, "x");
  EXPECT_EQ(read_file(folder.path() / longest), "x");
}

TEST(WriteFileAtomically, NamesTheFileItCannotWriteAndLeavesNothingBehind) {
  TemporaryFolder folder;
  const auto taken = folder.path() / "folder";
  std::filesystem::create_directory(taken);
  EXPECT_THAT([&] { write_file_atomically(taken, "x"); }, ThrowsMessage<Error>(HasSubstr("folder")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_THROW(write_file_atomically(folder.path() / "missing" / "f", "x"), Error);
}

/// Reading a pipe would block.
TEST(MappedFile, RefusesPipes) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_THAT([&] { MappedFile(folder.path() / "pipe"); },
              ThrowsMessage<Error>(HasSubstr("pipe: is not a regular file")));
}

TEST(MappedFile, ShowsTheBytes) {
  TemporaryFolder folder;
  write(folder.path() / "f", "bytes");
  const MappedFile mapped(folder.path() / "f");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()), "bytes");
  write(folder.path() / "empty", "");
  EXPECT_TRUE(MappedFile(folder.path() / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder.path()), Error);
}

TEST(RemoveTemporaries, KeepsFilesThatOnlyLookTemporary) {
  const test::TemporaryFolder folder;
  const auto mine = test::write(folder.path() / ".0123456789abcdef.notes.tmp", "mine");
  remove_temporaries(folder.path());
  EXPECT_TRUE(std::filesystem::exists(mine));
}

}  // namespace
}  // namespace gondola
