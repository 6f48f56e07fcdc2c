// EXIF as cameras and programs write it (Exif 2.3, TIFF 6.0), in addition to Pillow's files in pillow_test.cpp.
#include "image/orientation.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace gondola {
namespace {

int orientation(const std::string& bytes) {
  return exif_orientation({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

const std::string exif_header("Exif\0\0", 6);
/// One entry, orientation 6, of type SHORT in little-endian order and of type LONG in big-endian order.
const std::string little_endian("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0", 26);
const std::string of_type_long("MM\0*\0\0\0\x08\0\1\1\x12\0\4\0\0\0\1\0\0\0\6\0\0\0\0", 26);

std::string jpeg_with(const std::string& tiff) {
  const std::size_t length = exif_header.size() + tiff.size() + 2;
  return std::string("\xff\xd8\xff\xe1", 4) + static_cast<char>(length >> 8) + static_cast<char>(length & 255) +
         exif_header + tiff + std::string("\xff\xda\0\2", 4);
}

/// A chunk of a WebP file, padded to an even length.
std::string chunk(const std::string& name, const std::string& content) {
  std::string size(4, '\0');
  for (std::size_t i = 0; i < 4; ++i) size[i] = static_cast<char>(content.size() >> 8 * i);
  return name + size + content + std::string(content.size() % 2, '\0');
}

TEST(Orientation, IsReadInEitherByteOrderAndType) {
  EXPECT_EQ(orientation(jpeg_with(little_endian)), 6);
  EXPECT_EQ(orientation(jpeg_with(of_type_long)), 6);
}

TEST(Orientation, IsFoundInAJpegBehindStrayBytes) {
  const std::string jpeg = jpeg_with(little_endian);
  for (const std::string& stray : {std::string(3, '\0'), std::string("A"), std::string("\xff\0\xff", 3)})
    EXPECT_EQ(orientation(jpeg.substr(0, 2) + stray + jpeg.substr(2)), 6);
}

TEST(Orientation, IsFoundInAWebpAfterOddChunksOrAHeader) {
  EXPECT_EQ(orientation("RIFF\1\1\1\1WEBP" + chunk("VP8X", "odd") + chunk("EXIF", little_endian)), 6);
  EXPECT_EQ(orientation("RIFF\1\1\1\1WEBP" + chunk("EXIF", exif_header + little_endian)), 6);
}

}  // namespace
}  // namespace gondola
