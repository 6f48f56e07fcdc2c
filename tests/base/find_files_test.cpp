#include "base/find_files.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <vector>

#include "tests/support/files.h"

namespace gondola {
namespace {

TEST(FindFiles, TellsOfFoldersThatCannotBeRead) {
  const test::TemporaryFolder folder;
  std::vector<std::filesystem::path> unreadable;
  find_files(
      folder.path() / "gone", [](const auto&) {},
      [&](const auto& path, std::error_code) { unreadable.push_back(path); });
  EXPECT_THAT(unreadable, testing::ElementsAre(folder.path() / "gone"));
}

}  // namespace
}  // namespace gondola
