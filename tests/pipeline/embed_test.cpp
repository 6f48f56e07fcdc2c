#include "pipeline/embed.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "base/error.h"

namespace gondola {
namespace {

constexpr int image_size = 4;

/// An encoder whose embeddings are plain: of an image the mean of each channel, of a text its first two ids after the
/// start, and their number up to the end.
class PlainEncoder : public Encoder {
 public:
  PlainEncoder() {
    config_.embed_dim = 3;
    config_.image.image_size = image_size;
    config_.text.context_length = 5;
  }
  const ModelConfig& config() const override { return config_; }

  void encode_images(std::span<const float> pixels, std::span<float> embeddings) override {
    constexpr std::size_t plane = image_size * image_size;
    ASSERT_EQ(pixels.size(), embeddings.size() * plane);
    largest_batch = std::max(largest_batch, embeddings.size() / 3);
    for (std::size_t i = 0; i < embeddings.size(); ++i) {
      const auto channel = pixels.subspan(i * plane, plane);
      embeddings[i] = std::accumulate(channel.begin(), channel.end(), 0.0f) / plane;
    }
  }

  void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) override {
    ASSERT_EQ(ids.size() / 5, embeddings.size() / 3);
    for (std::size_t text = 0; text < ids.size() / 5; ++text) {
      const auto row = ids.subspan(text * 5, 5);
      embeddings[text * 3] = static_cast<float>(row[1]);
      embeddings[text * 3 + 1] = static_cast<float>(row[2]);
      embeddings[text * 3 + 2] = static_cast<float>(std::max_element(row.begin(), row.end()) - row.begin());
    }
  }

  std::size_t largest_batch = 0;

 private:
  ModelConfig config_;
};

/// A square of one colour, which the preprocessing below leaves as it is, divided by 255.
Image square(std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  Image image;
  image.mode = PixelMode::rgb;
  image.width = image.height = 9;
  for (int i = 0; i < 81; ++i) image.pixels.insert(image.pixels.end(), {red, green, blue});
  return image;
}

const PreprocessConfig plain_preprocessing = {.size = image_size, .mean = {0, 0, 0}, .std = {1, 1, 1}};

TEST(EmbedImages, GivesEveryImageItsOwnResultInOrder) {
  for (int threads : {1, 3}) {
    for (std::size_t batch : {std::size_t{1}, std::size_t{4}, std::size_t{100}}) {
      PlainEncoder encoder;
      ThreadPool pool(threads);
      std::size_t next = 0;
      embed_images(
          {encoder, pool, plain_preprocessing, batch}, 23,
          [](std::size_t index) {
            if (index % 5 == 2) throw Error("image " + std::to_string(index));
            return square(static_cast<std::uint8_t>(index), static_cast<std::uint8_t>(2 * index), 255);
          },
          [&](const ImageEmbedding& result) {
            EXPECT_EQ(result.index, next++);
            if (result.index % 5 == 2) {
              EXPECT_EQ(result.error, "image " + std::to_string(result.index));
              EXPECT_TRUE(result.values.empty());
            } else {
              EXPECT_EQ(result.error, "");
              ASSERT_EQ(result.values.size(), 3u);
              EXPECT_NEAR(result.values[0], static_cast<float>(result.index) / 255, 1e-6);
              EXPECT_NEAR(result.values[1], static_cast<float>(2 * result.index) / 255, 1e-6);
              EXPECT_NEAR(result.values[2], 1, 1e-6);
            }
          });
      EXPECT_EQ(next, 23u);
      EXPECT_LE(encoder.largest_batch, batch);
    }
  }
}

TEST(EmbedImages, GoesOnWhenAWholeBatchFails) {
  PlainEncoder encoder;
  ThreadPool pool(2);
  std::vector<std::string> errors;
  embed_images(
      {encoder, pool, plain_preprocessing, 2}, 5,
      [](std::size_t index) -> Image {
        if (index < 4) throw Error("damaged");
        return square(0, 0, 0);
      },
      [&](const ImageEmbedding& result) { errors.push_back(result.error); });
  EXPECT_THAT(errors, testing::ElementsAre("damaged", "damaged", "damaged", "damaged", ""));
}

TEST(EmbedImages, PassesOnWhatTheSinkThrows) {
  PlainEncoder encoder;
  ThreadPool pool(2);
  EXPECT_THROW(embed_images(
                   {encoder, pool, plain_preprocessing}, 3, [](std::size_t) { return square(1, 1, 1); },
                   [](const ImageEmbedding&) { throw Error("disk full"); }),
               Error);
}

TEST(EmbedTexts, EncodesEveryTextInOrder) {
  PlainEncoder encoder;
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});  // every letter is a token
  std::vector<std::string> texts;
  for (int i = 0; i < 150; ++i) texts.push_back(i % 2 == 0 ? "ab" : "c");
  const std::vector<float> embeddings = embed_texts(encoder, tokenizer, texts, Overflow::error);
  ASSERT_EQ(embeddings.size(), 450u);
  const auto a = static_cast<float>(tokenizer.encode("a").at(0)), c = static_cast<float>(tokenizer.encode("c").at(0));
  for (std::size_t text = 0; text < 150; ++text) {
    EXPECT_NE(embeddings[3 * text], text % 2 == 0 ? c : a);
    EXPECT_EQ(embeddings[3 * text + 2], text % 2 == 0 ? 3 : 2);
  }
  EXPECT_EQ(embeddings[3], c);
}

TEST(EmbedTexts, RefusesOrCutsALongText) {
  PlainEncoder encoder;
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});
  const std::vector<std::string> texts = {"a", "abcdef"};
  EXPECT_THROW(embed_texts(encoder, tokenizer, texts, Overflow::error), Error);
  EXPECT_EQ(embed_texts(encoder, tokenizer, texts, Overflow::truncate)[5], 4) << "the end token stays";
}

}  // namespace
}  // namespace gondola
