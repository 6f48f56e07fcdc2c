#include "base/find_files.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <vector>

#include "tests/support/files.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> found_in(const fs::path& folder) {
  std::vector<std::string> names;
  find_files(
      folder, [&](const auto& file) { names.push_back(file.path().lexically_relative(folder).string()); },
      [](const auto& path, std::error_code) { ADD_FAILURE() << path; });
  return names;
}

TEST(FindFiles, FollowsOnlyTheFirstOfSeveralLinksToAFolder) {
  const test::TemporaryFolder folder;
  const fs::path elsewhere = folder.path() / "elsewhere", whole = folder.path() / "whole";
  test::write(elsewhere / "deeper" / "1.jpg", "one");
  test::write(whole / "2.jpg", "two");
  for (const char* name : {"c", "b", "d"}) fs::create_directory_symlink(elsewhere, whole / name);
  fs::create_directory_symlink(elsewhere / "deeper", whole / "e");
  EXPECT_THAT(found_in(whole), testing::UnorderedElementsAre("2.jpg", "b/deeper/1.jpg"));
}

/// In a chain of hidden folders, each with two links to the next, there are 2^16 ways to the last.
TEST(FindFiles, VisitsEachLinkedFolderOnce) {
  constexpr int folders = 16;
  const test::TemporaryFolder folder;
  const fs::path hidden = folder.path() / ".hidden";
  std::string way = "x/";
  for (int i = 0; i < folders; ++i) {
    const fs::path next = hidden / std::to_string(i + 1);
    fs::create_directories(hidden / std::to_string(i));
    fs::create_directories(next);
    for (const char* name : {"a", "b"}) fs::create_directory_symlink(next, hidden / std::to_string(i) / name);
    way += "a/";
  }
  test::write(hidden / std::to_string(folders) / "1.jpg", "one");
  fs::create_directory_symlink(hidden / "0", folder.path() / "x");
  EXPECT_THAT(found_in(folder.path()), testing::ElementsAre(way + "1.jpg"));
}

TEST(FindFiles, ReportsUnreadableFolders) {
  const test::TemporaryFolder folder;
  std::vector<fs::path> unreadable;
  find_files(
      folder.path() / "gone", [](const auto&) {},
      [&](const auto& path, std::error_code) { unreadable.push_back(path); });
  EXPECT_THAT(unreadable, testing::ElementsAre(folder.path() / "gone"));
}

}  // namespace
}  // namespace gondola
