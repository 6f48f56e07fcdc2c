// Damaged files of every format: an Error or an image, whatever the bytes are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "image/preprocess.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class DamagedImage : public testing::TestWithParam<const char*> {};

TEST_P(DamagedImage, CorruptFilesGiveAnErrorOrAnImage) {
  const std::string good = read_file(test::golden("image") / GetParam());
  PreprocessConfig config;
  config.size = 16;
  std::vector<float> tensor(3 * 16 * 16);
  int decoded = 0;
  for (std::uint64_t i = 0; i < 1500; ++i) {
    const std::string bytes = test::mutate(good, i);
    try {
      // Small enough that a damaged header cannot ask for much work.
      const Image image = decode_image(std::as_bytes(std::span(bytes)), "damaged", {.pixel_limit = 1 << 20});
      ASSERT_EQ(image.pixels.size(), image.row_bytes() * static_cast<std::size_t>(image.height));
      preprocess(image, config, tensor);
      ++decoded;
    } catch (const Error&) {  // is what is expected
    }
  }
  EXPECT_LT(decoded, 1500);
}

INSTANTIATE_TEST_SUITE_P(Formats, DamagedImage,
                         testing::Values("420.jpg", "444.jpg", "progressive.jpg", "animated.gif", "animated.webp",
                                         "3x7.jpg", "bmp-rle8.bmp", "bmp-8.bmp", "bmp-24.bmp", "1x1.webp",
                                         "rgb-8-interlaced.png", "grey-16.png", "palette-4.png", "beyond-screen.gif"),
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
  EXPECT_NO_THROW(load_image(write("a jpeg.png", jpeg)));  // told by content
}

TEST(LoadImage, RefusesMorePixelsThanTheLimitBeforeItDecodes) {
  // A PNG header of 60,000 × 60,000 pixels; nothing follows it.
  std::string png = read_file(test::golden("image") / "rgba-223x225.png").substr(0, 33);
  png.replace(16, 8, std::string("\0\0\xea\x60\0\0\xea\x60", 8));
  const test::TemporaryFolder folder;
  write_file_atomically(folder.path() / "huge.png", png);
  EXPECT_THROW(load_image(folder.path() / "huge.png"), Error);
}

}  // namespace
}  // namespace gondola
