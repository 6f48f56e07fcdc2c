#include "train/tensorboard.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "tests/support/files.h"

namespace gondola {
namespace {

TEST(Crc32c, IsCastagnolis) {  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
}

std::uint32_t masked(const std::string& bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

TEST(EventWriter, WritesRecordsOfTensorBoardsFormat) {
  const test::TemporaryFolder folder;
  EventWriter(folder.path(), /*first_step=*/299).scalar("loss", 300, 1.5);
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) file = entry.path();
  EXPECT_TRUE(file.filename().string().starts_with("events.out.tfevents."));
  const std::string bytes = read_file(file);
  std::vector<std::string> records;
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint64_t length = 0;
    std::uint32_t length_crc = 0, crc = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&length_crc, bytes.data() + at + 8, 4);
    EXPECT_EQ(length_crc, masked(bytes.substr(at, 8)));
    records.push_back(bytes.substr(at + 12, length));
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    EXPECT_EQ(crc, masked(records.back()));
    at += 16 + length;
  }
  ASSERT_EQ(records.size(), 3u);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  // tensorflow.Event {2: step 300, 7: SessionLog {1: START}}, after the time: earlier files end before step 300.
  EXPECT_EQ(records[1].substr(9), std::string("\x10\xac\x02\x3a\x02\x08\x01"));
  // {2: step 300, 5: Summary {1: Value {1: "loss", 2: 1.5}}}
  EXPECT_EQ(records[2].substr(9), std::string("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f", 18));
}

}  // namespace
}  // namespace gondola
