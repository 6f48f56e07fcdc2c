// The rows of docs/architecture.md, compared with the #include lines of every file.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

const fs::path root = GONDOLA_SOURCE_DIR;

/// The rooms of each row. A room includes only rooms of earlier rows, and none of its own row.
const std::vector<std::vector<std::string>> rows = [] {
  std::vector<std::vector<std::string>> found;
  static const std::regex line_of_room(R"(^\| (\d*) ?\| `(\w+)` \|.*)");
  for (const std::string& line : read_lines(root / "docs" / "architecture.md")) {
    std::smatch match;
    if (!std::regex_match(line, match, line_of_room)) continue;
    if (match[1].length() > 0) found.emplace_back();
    found.back().push_back(match[2]);
  }
  return found;
}();

/// For each room, the rooms of earlier rows that it must not include all the same.
const std::map<std::string, std::set<std::string>> closed = {
    {"engine", {"data"}},
    {"torch_towers", {"kernels", "data"}},
    {"train", {"kernels", "engine"}},
};

std::size_t row_of(const std::string& room) {
  for (std::size_t row = 0; row < rows.size(); ++row)
    if (std::count(rows[row].begin(), rows[row].end(), room) != 0) return row;
  return rows.size();
}

bool may_include(const std::string& room, const std::string& other) {
  if (room == other) return true;
  const auto exceptions = closed.find(room);
  return row_of(other) < row_of(room) && (exceptions == closed.end() || exceptions->second.count(other) == 0);
}

std::vector<fs::path> sources(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".h" || entry.path().extension() == ".cpp") files.push_back(entry.path());
  return files;
}

/// The headers that a file's #include lines name, with their quotes or angle brackets.
std::vector<std::string> includes(const fs::path& file) {
  static const std::regex line_of_include(R"(^\s*#\s*include\s*(["<][^">]+[">]).*)");
  std::vector<std::string> found;
  for (const std::string& line : read_lines(file))
    if (std::smatch match; std::regex_match(line, match, line_of_include)) found.push_back(match[1]);
  return found;
}

TEST(Architecture, EveryFolderIsARoom) {
  for (const fs::directory_entry& entry : fs::directory_iterator(root / "src"))
    if (entry.is_directory()) {
      EXPECT_LT(row_of(entry.path().filename().string()), rows.size()) << entry.path();
    }
}

TEST(Architecture, RoomsIncludeOnlyEarlierRooms) {
  int edges = 0;
  for (const fs::path& file : sources(root / "src")) {
    const std::string room = (*file.lexically_relative(root / "src").begin()).string();
    for (const std::string& include : includes(file)) {
      if (include.front() != '"') continue;
      const std::string path = include.substr(1, include.size() - 2), other = path.substr(0, path.find('/'));
      EXPECT_TRUE(fs::exists(root / "src" / path)) << file << " includes " << include << ", a path from src/";
      EXPECT_TRUE(may_include(room, other)) << file << ": " << room << " must not include " << include;
      ++edges;
    }
  }
  EXPECT_GT(edges, 20) << "the test found hardly any #include";
}

TEST(Architecture, TheRuleTellsGoodFromBad) {
  EXPECT_TRUE(may_include("cli", "api"));
  EXPECT_TRUE(may_include("train", "torch_towers"));
  EXPECT_FALSE(may_include("train", "engine"));
  EXPECT_FALSE(may_include("engine", "data"));
  EXPECT_FALSE(may_include("text", "config"));
  EXPECT_FALSE(may_include("base", "text"));
}

TEST(Architecture, OnlyTheApiRoomSeesThePublicHeaders) {
  for (const fs::path& file : sources(root / "src")) {
    const std::string room = (*file.lexically_relative(root / "src").begin()).string();
    for (const std::string& include : includes(file))
      if (include.starts_with("<gondola/") && include != "<gondola/error.h>") {
        EXPECT_EQ(room, "api") << file << " includes " << include;
      }
  }
}

TEST(Architecture, PublicHeadersNeedOnlyTheStandardLibrary) {
  for (const fs::path& file : sources(root / "include"))
    for (const std::string& include : includes(file)) {
      const bool own = include.starts_with("<gondola/");
      const bool standard = include.find_first_of("/.") == std::string::npos && include.front() == '<';
      EXPECT_TRUE(own || standard) << file << " includes " << include;
    }
}

TEST(Architecture, FilesStayShort) {
  constexpr std::size_t about_500_lines = 550;
  for (const char* folder : {"src", "include", "tests"})
    for (const fs::path& file : sources(root / folder)) {
      const bool is_generated = file.string().ends_with("_table.cpp");
      EXPECT_TRUE(is_generated || read_lines(file).size() <= about_500_lines) << file << ": one concept a file";
    }
}

}  // namespace
}  // namespace gondola
