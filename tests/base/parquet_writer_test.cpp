#include "base/parquet_writer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "base/json.h"
#include "tests/support/files.h"
#include "tests/support/python.h"

namespace gondola {
namespace {

/// What pyarrow reads: {"columns": …, "types": …, "values": …}.
Json read_with_pyarrow(const std::filesystem::path& path) {
  const std::string script =
      "import json, sys, pyarrow.parquet as parquet\n"
      "table = parquet.read_table(sys.argv[1])\n"
      "print(json.dumps({'columns': table.column_names, 'types': [str(t) for t in table.schema.types],\n"
      "                  'values': table.column(0).to_pylist()}))\n";
  std::FILE* pipe =
      ::popen(fmt::format("'{}' -c \"{}\" '{}'", test::python.string(), script, path.string()).c_str(), "r");
  std::string output;
  char chunk[4096];
  while (const std::size_t count = std::fread(chunk, 1, sizeof chunk, pipe)) output.append(chunk, count);
  EXPECT_EQ(::pclose(pipe), 0);
  return parse_json(output, "pyarrow");
}

TEST(Parquet, IsReadByArrow) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  test::TemporaryFolder folder;
  std::vector<std::string> values = {"a.jpg", "", "sub folder/na\u00efve \U0001f408.png", "line\nbreak"};
  for (int i = 0; i < 120'000; ++i) values.push_back(fmt::format("photos/{:06}.jpg", i));  // more than one page
  write_parquet(folder.path() / "t.parquet", "image_path", values);
  const Json table = read_with_pyarrow(folder.path() / "t.parquet");
  EXPECT_EQ(table.at("columns"), Json::array({"image_path"}));
  EXPECT_EQ(table.at("types"), Json::array({"string"}));
  EXPECT_EQ(table.at("values").get<std::vector<std::string>>(), values);
}

TEST(Parquet, ReplacesWhatIsNotUtf8) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  test::TemporaryFolder folder;
  write_parquet(folder.path() / "t.parquet", "image_path", std::vector<std::string>{"b\xff.jpg"});
  EXPECT_EQ(read_with_pyarrow(folder.path() / "t.parquet").at("values"), Json::array({"b\ufffd.jpg"}));
}

TEST(Parquet, MayBeEmpty) {
  GONDOLA_NEEDS_PYTHON_WITH("pyarrow");
  test::TemporaryFolder folder;
  write_parquet(folder.path() / "t.parquet", "image_path", {});
  const Json table = read_with_pyarrow(folder.path() / "t.parquet");
  EXPECT_EQ(table.at("columns"), Json::array({"image_path"}));
  EXPECT_TRUE(table.at("values").empty());
}

}  // namespace
}  // namespace gondola
