#include "base/npy.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using test::golden;
using test::TemporaryFolder;

std::vector<float> golden_values() {
  return test::read_npy<float>(golden("base/rows_fp32.npy")).values;
}

TEST(NpyWriter, WritesTheBytesThatNumPyWrites) {
  TemporaryFolder folder;
  const std::vector<float> values = golden_values();
  for (const auto& [name, type] : {std::pair("rows_fp16.npy", NpyType::float16), {"rows_fp32.npy", NpyType::float32}}) {
    NpyWriter writer(folder.path() / name, type, {5});
    for (std::size_t row = 0; row < values.size(); row += 5) writer.append(std::span(values).subspan(row, 5));
    writer.finish();
    EXPECT_EQ(read_file(folder.path() / name), read_file(golden("base") / name)) << name;
  }
}

TEST(NpyWriter, WritesAnEmptyArray) {
  TemporaryFolder folder;
  NpyWriter writer(folder.path() / "a.npy", NpyType::float16, {5});
  writer.finish();
  EXPECT_EQ(read_file(folder.path() / "a.npy"), read_file(golden("base/empty_fp16.npy")));
}

TEST(NpyWriter, LeavesNoFileWhenItIsNotFinished) {
  TemporaryFolder folder;
  { NpyWriter(folder.path() / "a.npy", NpyType::float32, 5).append(std::vector<float>(5)); }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_THROW(NpyWriter(folder.path() / "missing" / "a.npy", NpyType::float32, 5), Error);
}

/// A kept file would lack the rows that could not be written.
TEST(NpyWriter, LeavesNoFileAfterAFailedWrite) {
  TemporaryFolder folder;
  NpyWriter writer(folder.path() / "a.npy", NpyType::float32, {1000});
  {
    const test::FileSizeLimit limit(10'000);
    const auto append_all = [&] {
      for (int i = 0; i < 10; ++i) writer.append(std::vector<float>(1000));
    };
    EXPECT_THROW(append_all(), Error);
  }
  EXPECT_THROW(writer.append(std::vector<float>(1000)), Error);
  EXPECT_THROW(writer.finish(), Error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "a.npy"));
}

TEST(WriteNpy, WritesTheBytesThatNumPyWrites) {
  TemporaryFolder folder;
  write_npy(folder.path() / "cube.npy", std::vector<std::size_t>{2, 5, 5}, golden_values());
  EXPECT_EQ(read_file(folder.path() / "cube.npy"), read_file(golden("base/cube_fp32.npy")));
  write_npy(folder.path() / "column.npy", std::vector<std::size_t>{50}, golden_values());
  EXPECT_EQ(read_file(folder.path() / "column.npy"), read_file(golden("base/column_fp32.npy")));
}

}  // namespace
}  // namespace gondola
