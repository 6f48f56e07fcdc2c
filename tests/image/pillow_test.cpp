// Compares with Pillow 13 and the arithmetic of torchvision and of transformers (its image processor with Pillow):
// every file of tests/reference/golden/image, by the checksums that tests/reference/image.py wrote, and, with
// GONDOLA_TEST_DATA, some thousand photos.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "image/image.h"
#include "image/preprocess.h"
#include "tests/image/checksum.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using test::checksum;

constexpr const char* pillow_names[] = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"};  // by PixelMode

Json read_manifest(const std::string& name) {
  const std::filesystem::path path = test::golden("image") / name;
  return parse_json(read_file(path), path.string());
}

PreprocessConfig pipeline(const std::string& name) {
  PreprocessConfig config;
  if (name == "hugging_face") config.library = PreprocessLibrary::transformers;
  if (name == "longest" || name == "longest_fill_127") config.resize_mode = ResizeMode::longest;
  if (name == "longest_fill_127") config.fill = 127;
  if (name == "squash") config.resize_mode = ResizeMode::squash;
  if (name == "bilinear_97") {
    config.interpolation = Interpolation::bilinear;
    config.size = 97;
  }
  return config;
}

std::vector<float> preprocessed(const Image& image, const PreprocessConfig& config) {
  const auto size = static_cast<std::size_t>(config.size);
  std::vector<float> tensor(3 * size * size);
  preprocess(image, config, tensor);
  return tensor;
}

class Pillow : public testing::TestWithParam<std::string> {
 protected:
  static const Json& files() {
    static const Json manifest = read_manifest("manifest.json");
    return manifest.at("files");
  }
  const Json& expected() const { return files().at(GetParam()); }
  std::filesystem::path path() const { return test::golden("image") / GetParam(); }
};

TEST_P(Pillow, DecodesToTheSamePixels) {
  const Image image = load_image(path());
  EXPECT_EQ(pillow_names[static_cast<std::size_t>(image.mode)], expected().at("mode"));
  EXPECT_EQ(image.width, expected().at("width"));
  EXPECT_EQ(image.height, expected().at("height"));
  EXPECT_EQ(checksum(image.pixels), expected().at("pixels"));
}

TEST_P(Pillow, ConvertsToTheSameColours) {
  const Image image = load_image(path());
  EXPECT_EQ(checksum(to_rgb(image).pixels), expected().at("rgb"));
  EXPECT_EQ(checksum(to_rgb_over_white(image).pixels), expected().at("rgb_over_white"));
}

TEST_P(Pillow, TurnsUprightTheSame) {
  EXPECT_EQ(checksum(load_image(path(), {.apply_exif_orientation = true}).pixels), expected().at("upright"));
}

/// Any number of fill bytes may precede a marker (T.81, B.1.1.2).
TEST(Orientation, IsFoundBehindFillBytes) {
  std::string bytes = read_file(test::golden("image") / "orientation-6.jpg");
  const auto turned = [&] {
    return decode_image(std::as_bytes(std::span(bytes)), "6", {.apply_exif_orientation = true});
  };
  const Image expected = turned();
  bytes.insert(2, 3, '\xff');
  const Image found = turned();
  EXPECT_EQ(found.width, expected.width);
  EXPECT_EQ(found.pixels, expected.pixels);
}

TEST_P(Pillow, ResizesToTheSamePixels) {
  const Image image = load_image(path());
  for (const Json& item : expected().at("resized")) {
    const int width = item[0], height = item[1];
    std::vector<std::uint8_t> pixels;
    for (Interpolation interpolation : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
      const Image resized = resize(image, width, height, interpolation);
      pixels.insert(pixels.end(), resized.pixels.begin(), resized.pixels.end());
    }
    EXPECT_EQ(checksum(pixels), item[2]) << item;
  }
}

TEST_P(Pillow, PreprocessesToTheSameTensor) {
  const Image image = load_image(path());
  for (const auto& [name, expected_checksum] : expected().at("preprocessed").items()) {
    if (expected_checksum.is_null())
      EXPECT_THROW(preprocessed(image, pipeline(name)), Error) << name;
    else
      EXPECT_EQ(checksum(preprocessed(image, pipeline(name))), expected_checksum) << name;
  }
}

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  const Json manifest = read_manifest("manifest.json");
  for (const auto& item : manifest.at("files").items()) names.push_back(item.key());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Files, Pillow, testing::ValuesIn(golden_names()), [](const auto& parameter) {
  std::string name = parameter.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

class Photos : public testing::TestWithParam<std::string> {};

TEST_P(Photos, DecodeAndPreprocessTheSame) {
  GONDOLA_NEEDS_TEST_DATA(GetParam());
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::test_data() / GetParam())) {
    const std::string extension = entry.path().extension();
    if (extension == ".jpg" || extension == ".jpeg" || extension == ".png") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  const Json expected = read_manifest("photos.json").at(GetParam());
  ASSERT_EQ(paths.size(), expected.size());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const Image image = load_image(paths[i]);
    EXPECT_EQ(checksum(image.pixels) + checksum(preprocessed(image, {})) +
                  checksum(preprocessed(image, pipeline("hugging_face"))),
              expected[i])
        << paths[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, Photos,
                         testing::Values("flickr8k-1000", "imagenet-1000", "photos", "preprocess-parity"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(PreprocessParity, IsBitIdenticalToClipRetrieval) {
  GONDOLA_NEEDS_TEST_DATA("preprocess-parity");
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::test_data() / "preprocess-parity")) {
    if (entry.path().extension() != ".jpg") continue;
    ++files;
    const std::vector<float> tensor = preprocessed(load_image(entry.path()), {});
    const std::string expected = read_file(std::filesystem::path(entry.path()).replace_extension("3x224x224.f32"));
    ASSERT_EQ(expected.size(), tensor.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(expected.data(), tensor.data(), expected.size()), 0) << entry.path();
  }
  EXPECT_EQ(files, 7);
}

/// An image of 1 × 1 pixel with two colours, the first of them transparent.
TEST(Gif, MayHaveItsFirstColourTransparent) {
  const std::string gif(
      "GIF89a\1\0\1\0\x80\0\0"
      "\0\0\0\xff\0\0"
      "!\xf9\4\1\0\0\0\0"
      ",\0\0\0\0\1\0\1\0\0"
      "\2\2D\1\0"
      ";",
      43);
  EXPECT_EQ(to_rgb_over_white(decode_image(std::as_bytes(std::span(gif)), "x.gif")).pixels[0], 255);
}

/// An image of 2 × 1 pixels with the indices 1 and 2 into a palette of four colours.
const std::string gif_header("GIF89a\2\0\1\0\x81\0\0\xff\0\0\0\xff\0\0\0\xff\xff\xff\xff", 25);
const std::string gif_descriptor(",\0\0\0\0\2\0\1\0\0", 10);
const std::string gif_pixels("\2\2\x8c\x0a"), gif_pixels_in_two_blocks("\2\1\x8c\1\x0a"), gif_end("\0;", 2);

std::vector<std::uint8_t> indices_of_gif(const std::string& bytes) {
  const Image image = decode_image(std::as_bytes(std::span(bytes)), "x.gif");
  return {image.pixels.begin(), image.pixels.end()};
}

TEST(Gif, MayHaveStrayBytesBetweenItsBlocks) {
  const std::string extension("!\xfe\1c\0", 5), stray("\0\0A", 3);
  for (const std::string& between : {std::string(), stray, stray + extension, extension + stray})
    EXPECT_EQ(indices_of_gif(gif_header + between + gif_descriptor + gif_pixels + gif_end),
              (std::vector<std::uint8_t>{1, 2}));
  EXPECT_THROW(indices_of_gif(gif_header + stray), Error);
}

TEST(Gif, MayEndWithItsPixelsButNotBeforeThem) {
  for (const std::string& pixels : {gif_pixels, gif_pixels_in_two_blocks}) {
    const std::string whole = gif_header + gif_descriptor + pixels;
    for (const std::string& end : {std::string(), gif_end.substr(0, 1), gif_end})
      EXPECT_EQ(indices_of_gif(whole + end), (std::vector<std::uint8_t>{1, 2}));
    for (std::size_t length = 0; length < whole.size(); ++length)
      EXPECT_THROW(indices_of_gif(whole.substr(0, length)), Error) << length;
  }
}

}  // namespace
}  // namespace gondola
