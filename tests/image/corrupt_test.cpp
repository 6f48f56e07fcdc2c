// Damaged files of every format: an Error or an image, whatever the bytes are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "image/preprocess.h"
#include "tests/image/checksum.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Decodes and preprocesses 1,500 damaged copies of a file; returns how many gave an image.
int decode_damaged(const std::string& name, const std::function<std::string(std::string)>& repair) {
  const std::string good = read_file(test::golden("image") / name);
  PreprocessConfig config;
  config.size = 16;
  std::vector<float> tensor(3 * 16 * 16);
  // Few enough pixels that a damaged header cannot ask for much work.
  const DecodeOptions options{.pixel_limit = 1 << 20, .apply_exif_orientation = true};
  int decoded = 0;
  for (std::uint64_t i = 0; i < 1500; ++i) {
    const std::string bytes = repair(test::mutate(good, i));
    try {
      const Image image = decode_image(std::as_bytes(std::span(bytes)), "damaged", options);
      EXPECT_EQ(image.pixels.size(), image.row_bytes() * static_cast<std::size_t>(image.height));
      preprocess(image, config, tensor);
      ++decoded;
    } catch (const Error&) {  // expected
    }
  }
  return decoded;
}

std::string unrepaired(std::string bytes) {
  return bytes;
}

/// Gives the chunks of a damaged PNG valid checksums; otherwise no damage would get past them.
std::string repair_png(std::string png) {
  const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(png[at])); };
  for (std::size_t at = 8; at + 12 <= png.size();) {
    const std::size_t length = byte(at) << 24 | byte(at + 1) << 16 | byte(at + 2) << 8 | byte(at + 3);
    if (length > png.size() - at - 12) break;
    const std::uint32_t crc = test::crc32(std::as_bytes(std::span(png).subspan(at + 4, 4 + length)));
    for (std::size_t i = 0; i < 4; ++i) png[at + 8 + length + i] = static_cast<char>(crc >> (24 - 8 * i) & 0xff);
    at += 12 + length;
  }
  return png;
}

class DamagedImage : public testing::TestWithParam<const char*> {};

TEST_P(DamagedImage, CorruptFilesGiveAnErrorOrAnImage) {
  const int decoded = decode_damaged(GetParam(), unrepaired);
  EXPECT_TRUE(decoded > 0 && decoded < 1500) << decoded;
}

TEST(DamagedPng, CorruptChunksOfValidChecksumsGiveAnErrorOrAnImage) {
  for (const char* name : {"rgb-8-interlaced.png", "grey-16.png", "palette-4-table.png", "grey-alpha-16.png",
                           "grey-1-trns.png", "exif-6.png"}) {
    const int repaired = decode_damaged(name, repair_png);
    EXPECT_TRUE(repaired > decode_damaged(name, unrepaired) && repaired < 1500) << name << ": " << repaired;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, DamagedImage,
                         testing::Values("420.jpg", "444.jpg", "progressive.jpg", "animated.gif", "animated.webp",
                                         "3x7.jpg", "bmp-rle8.bmp", "bmp-8.bmp", "bmp-24.bmp", "1x1.webp",
                                         "rgb-8-interlaced.png", "grey-16.png", "palette-4.png", "beyond-screen.gif",
                                         "cmyk.jpg", "orientation-6.jpg", "exif-8.webp", "lossless-alpha.webp",
                                         "lossy-alpha.webp", "bmp-rle4.bmp", "bmp-32-rgba.bmp"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
                           return name;
                         });

TEST(LoadImage, SaysWhatIsWrongWithAFile) {
  const test::TemporaryFolder folder;
  const auto write = [&](const char* name, const std::string& bytes) {
    write_file_atomically(folder.path() / name, bytes);
    return folder.path() / name;
  };
  const auto refuses = [](const std::filesystem::path& path) {
    EXPECT_THAT([&] { load_image(path); }, ThrowsMessage<Error>(HasSubstr(path.string()))) << path;
  };
  const std::string jpeg = read_file(test::golden("image") / "420.jpg");
  refuses(write("empty.jpg", ""));
  refuses(write("text.png", "not a picture"));
  refuses(write("short.jpg", jpeg.substr(0, jpeg.size() / 2)));
  refuses(folder.path() / "missing.jpg");
  EXPECT_NO_THROW(load_image(write("a jpeg.png", jpeg)));  // recognised by its content
}

std::string with_bytes(std::string file, std::size_t offset, std::string_view bytes) {
  return file.replace(offset, bytes.size(), bytes);
}

TEST(LoadImage, SaysThatATruncatedFileIsDamaged) {
  for (const char* name : {"420.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgb-8.png", "rgba-16-interlaced.png",
                           "lossy.webp", "lossless-alpha.webp", "animated.webp", "palette.gif", "interlaced.gif",
                           "bmp-24.bmp", "bmp-8.bmp", "bmp-32-rgba.bmp", "bmp-rle8.bmp", "bmp-rle4.bmp"}) {
    const std::string good = read_file(test::golden("image") / name);
    for (std::size_t length : {std::size_t{1}, std::size_t{2}, std::size_t{12}, good.size() / 3, good.size() * 3 / 4}) {
      const std::string cut = good.substr(0, length);
      EXPECT_THAT([&] { decode_image(std::as_bytes(std::span(cut)), "cut"); }, ThrowsMessage<Error>(HasSubstr("cut: ")))
          << name << " of " << length << " bytes";
    }
  }
}

TEST(LoadImage, RefusesMorePixelsThanTheLimitBeforeItDecodes) {
  // Files whose headers claim 60,000 × 60,000 pixels, or 16,000 × 16,000 where the format ends there. None has them.
  const auto golden = [](const char* name) { return read_file(test::golden("image") / name); };
  const std::string jpeg = golden("420.jpg");
  const std::size_t frame = jpeg.find("\xff\xc0") + 5;
  const std::pair<const char*, std::string> files[] = {
      {"JPEG", with_bytes(jpeg, frame, "\xea\x60\xea\x60")},
      {"PNG", repair_png(with_bytes(golden("rgba-223x225.png"), 16, {"\0\0\xea\x60\0\0\xea\x60", 8}))},
      {"WebP", with_bytes(golden("lossy.webp"), 26, {"\x80\x3e\x80\x3e", 4})},
      {"animated WebP", with_bytes(golden("animated.webp"), 24, {"\x5f\xea\0\x5f\xea\0", 6})},
      {"GIF", with_bytes(golden("palette.gif"), 6, "\x60\xea\x60\xea")},
      {"BMP", with_bytes(golden("bmp-24.bmp"), 18, {"\x60\xea\0\0\x60\xea\0\0", 8})},
      {"run-length BMP", with_bytes(golden("bmp-rle8.bmp"), 18, {"\x60\xea\0\0\x60\xea\0\0", 8})}};
  for (const auto& [format, bytes] : files) {
    const auto decode = [&, content = std::as_bytes(std::span(bytes))] { decode_image(content, "huge"); };
    EXPECT_THAT(decode, ThrowsMessage<Error>(HasSubstr("above the limit"))) << format;
  }
  const std::string good = golden("rgb-8.png");  // 19 × 23
  EXPECT_NO_THROW(decode_image(std::as_bytes(std::span(good)), "png", {.pixel_limit = 19 * 23}));
  EXPECT_THAT([&] { decode_image(std::as_bytes(std::span(good)), "png", {.pixel_limit = 19 * 23 - 1}); },
              ThrowsMessage<Error>(AllOf(HasSubstr("png: 19 × 23 pixels"), HasSubstr("limit of 436"))));
}

/// Each scan visits the whole picture, however few bytes it has.
TEST(LoadImage, RefusesAJpegOfManyScans) {
  const std::string good = read_file(test::golden("image") / "progressive.jpg");
  const std::size_t scan = good.rfind("\xff\xda"), end = good.rfind("\xff\xd9");
  std::string bytes = good.substr(0, end);
  for (int i = 0; i < 120; ++i) bytes += good.substr(scan, end - scan);
  bytes += good.substr(end);
  EXPECT_THAT([&] { decode_image(std::as_bytes(std::span(bytes)), "scans"); },
              ThrowsMessage<Error>(HasSubstr("more than 100 scans")));
}

TEST(LoadImage, RecognisesFilesByContentAndShowsHowUnknownOnesStart) {
  const auto decode = [](std::string bytes) {
    return [bytes] { decode_image(std::as_bytes(std::span(bytes)), "cat.jpg"); };
  };
  EXPECT_THAT(decode(""), ThrowsMessage<Error>(HasSubstr("cat.jpg: the file is empty")));
  EXPECT_THAT(decode("<!DOCTYPE html><html>"), ThrowsMessage<Error>(HasSubstr("<!DOCTYPE html>")));
  EXPECT_THAT(decode("II*\x01"), ThrowsMessage<Error>(HasSubstr("not a JPEG, PNG, WebP, GIF or BMP image")));
  EXPECT_THAT(decode("RIFF\x24\1\1\1WAVEfmt "), ThrowsMessage<Error>(HasSubstr("not a JPEG")));
  for (const char* name : {"420.jpg", "rgb-8.png", "lossy.webp", "palette.gif", "bmp-24.bmp"})
    EXPECT_NO_THROW(decode(read_file(test::golden("image") / name))()) << name;
}

}  // namespace
}  // namespace gondola
