#include "pipeline/embed.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "pipeline/loaded_model.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

constexpr int image_size = 4;

/// An encoder with simple embeddings: the mean of each channel for an image; for a text, the first two ids after the
/// start token and the position of the largest id.
class PlainEncoder : public Encoder {
 public:
  explicit PlainEncoder(std::size_t batch_size = 4, int pad_id = 0) : preferred_batch_size_(batch_size) {
    config_.text.pad_id = pad_id;
    config_.embed_dim = 3;
    config_.image.image_size = image_size;
    config_.text.context_length = 5;
  }
  const ModelConfig& config() const override { return config_; }

  void encode_images(std::span<const float> pixels, std::span<float> embeddings) override {
    images_together += embeddings.size() / 3;
    encode(pixels, embeddings);
  }

  std::size_t preferred_batch_size() override { return preferred_batch_size_; }

  void encode_images_on_this_thread(int thread, std::span<const float> pixels, std::span<float> embeddings) override {
    EXPECT_LE(embeddings.size() / 3, preferred_batch_size_);
    EXPECT_GE(thread, 0);
    images_alone += embeddings.size() / 3;
    encode(pixels, embeddings);
  }

  void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) override {
    ASSERT_EQ(ids.size() / 5, embeddings.size() / 3);
    texts += ids.size() / 5;
    for (std::size_t text = 0; text < ids.size() / 5; ++text) {
      const auto row = ids.subspan(text * 5, 5);
      embeddings[text * 3] = static_cast<float>(row[1]);
      embeddings[text * 3 + 1] = static_cast<float>(row[2]);
      embeddings[text * 3 + 2] = static_cast<float>(std::max_element(row.begin(), row.end()) - row.begin());
    }
  }

  std::atomic<std::size_t> images_alone = 0, images_together = 0, texts = 0;

 private:
  static void encode(std::span<const float> pixels, std::span<float> embeddings) {
    constexpr std::size_t plane = image_size * image_size;
    ASSERT_EQ(pixels.size(), embeddings.size() * plane);
    for (std::size_t i = 0; i < embeddings.size(); ++i) {
      const auto channel = pixels.subspan(i * plane, plane);
      embeddings[i] = std::accumulate(channel.begin(), channel.end(), 0.0f) / plane;
    }
  }

  std::size_t preferred_batch_size_;
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
  for (int threads : {1, 2, 3, 8}) {
    for (std::size_t at_a_time : {1, 4, 5000}) {
      for (std::size_t count : {0, 1, 2, 3, 23, 3000}) {
        PlainEncoder encoder(at_a_time);
        ThreadPool pool(threads);
        std::size_t next = 0, failed = 0;
        const auto caller = std::this_thread::get_id();
        embed_images(
            {encoder, pool, plain_preprocessing}, count,
            [](std::size_t index) {
              if (index % 5 == 2) throw Error("image " + std::to_string(index));
              return square(static_cast<std::uint8_t>(index), static_cast<std::uint8_t>(2 * index), 255);
            },
            [&](const ImageEmbedding& result) {
              EXPECT_EQ(std::this_thread::get_id(), caller);
              ASSERT_EQ(result.index, next++);
              if (result.index % 5 == 2) {
                ++failed;
                EXPECT_EQ(result.error, "image " + std::to_string(result.index));
                EXPECT_TRUE(result.values.empty());
              } else {
                EXPECT_EQ(result.error, "");
                ASSERT_EQ(result.values.size(), 3u);
                EXPECT_NEAR(result.values[0], static_cast<float>(result.index % 256) / 255, 1e-6);
                EXPECT_NEAR(result.values[1], static_cast<float>(2 * result.index % 256) / 255, 1e-6);
                EXPECT_NEAR(result.values[2], 1, 1e-6);
              }
            });
        EXPECT_EQ(next, count);
        EXPECT_EQ(encoder.images_alone + encoder.images_together, count - failed);
        EXPECT_LT(encoder.images_together, static_cast<std::size_t>(threads));
      }
    }
  }
}

TEST(EmbedImages, GoesOnWhenAllButOneFail) {
  PlainEncoder encoder(2);
  ThreadPool pool(2);
  std::vector<std::string> errors;
  embed_images(
      {encoder, pool, plain_preprocessing}, 5,
      [](std::size_t index) -> Image {
        if (index < 4) throw Error("damaged");
        return square(0, 0, 0);
      },
      [&](const ImageEmbedding& result) { errors.push_back(result.error); });
  EXPECT_THAT(errors, testing::ElementsAre("damaged", "damaged", "damaged", "damaged", ""));
}

TEST(EmbedImages, RefusesEmbeddingsThatAreNotNumbers) {
  PlainEncoder encoder;
  PreprocessConfig infinite = plain_preprocessing;
  infinite.std[1] = 0;
  for (int threads : {1, 3}) {  // one image is encoded by a thread alone, or by all together
    ThreadPool pool(threads);
    EXPECT_THAT(
        [&] {
          embed_images(
              {encoder, pool, infinite}, 1, [](std::size_t) { return square(1, 2, 3); }, [](const auto&) {});
        },
        testing::ThrowsMessage<Error>(testing::HasSubstr("not numbers")));
  }
}

TEST(EmbedImages, StopsAndRethrowsWhenTheSinkThrows) {
  for (int threads : {1, 3}) {
    PlainEncoder encoder;
    ThreadPool pool(threads);
    std::atomic<int> loaded = 0;
    const auto run = [&](std::size_t count, std::size_t bad) {
      embed_images(
          {encoder, pool, plain_preprocessing}, count,
          [&](std::size_t) {
            ++loaded;
            return square(1, 1, 1);
          },
          [bad](const ImageEmbedding& result) {
            if (result.index == bad) throw Error("disk full");
          });
    };
    for (std::size_t bad : {0, 1, 4}) EXPECT_THROW(run(5, bad), Error);
    loaded = 0;
    EXPECT_THROW(run(100'000, 7), Error);
    EXPECT_LT(loaded, 2000);
    run(5, 5);  // encoder and pool are as good as new
  }
}

bool comes_true(const auto& condition) {
  for (int i = 0; i < 20'000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return condition();
}

TEST(EmbedImages, LoadsTwoImagesOnTwoThreadsAtTheSameTime) {
  PlainEncoder encoder;
  ThreadPool pool(2);
  std::atomic<int> begun = 0;
  embed_images(
      {encoder, pool, plain_preprocessing}, 2,
      [&](std::size_t) {
        ++begun;
        EXPECT_TRUE(comes_true([&] { return begun == 2; }));
        return square(1, 1, 1);
      },
      [](const ImageEmbedding&) {});
  EXPECT_EQ(encoder.images_alone, 2u);
}

TEST(EmbedImages, RunsAheadOfASlowImageByABoundedNumber) {
  for (std::size_t slow : {0, 4}) {  // whichever thread takes it
    PlainEncoder encoder;
    ThreadPool pool(2);
    std::atomic<std::size_t> furthest = 0, results = 0;
    embed_images(
        {encoder, pool, plain_preprocessing}, 50'000,
        [&](std::size_t index) {
          for (std::size_t old = furthest; old < index && !furthest.compare_exchange_weak(old, index);) {
          }
          if (index == slow) {
            EXPECT_TRUE(comes_true([&] { return furthest >= 1000; })) << "the others go on";
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            EXPECT_LT(furthest, 1100u);
          }
          return square(1, 1, 1);
        },
        [&](const ImageEmbedding&) { ++results; });
    EXPECT_EQ(results, 50'000u);
  }
}

/// Noise whose size and values depend on the number.
Image noise(std::size_t number) {
  Random random(number);
  Image image = make_image(PixelMode::rgb, static_cast<int>(20 + number % 31), static_cast<int>(30 + number % 17));
  for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return image;
}

TEST(EmbedImages, GivesTheSameBitsWhateverTheThreadsTheNumberAndTheOrder) {
  for (Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
    const auto embed = [&](int threads, const std::vector<std::size_t>& numbers) {
      LoadedModel model({.name_or_path = (test::golden("cli") / "model").string(),
                         .config = {},
                         .vocabulary = {},
                         .threads = threads,
                         .precision = precision});
      std::vector<std::vector<float>> found(100);
      embed_images(
          model.image_stages(), numbers.size(), [&](std::size_t index) { return noise(numbers[index]); },
          [&](const ImageEmbedding& result) {
            found[numbers[result.index]].assign(result.values.begin(), result.values.end());
          });
      return found;
    };
    std::vector<std::size_t> numbers(100);
    std::iota(numbers.begin(), numbers.end(), std::size_t{0});
    const auto reference = embed(1, numbers);
    EXPECT_NE(reference[1], reference[2]);
    EXPECT_EQ(embed(2, numbers), reference);
    std::reverse(numbers.begin() + 10, numbers.end());
    EXPECT_EQ(embed(1, numbers), reference);
    EXPECT_EQ(embed(3, numbers), reference);
    for (std::size_t number : {0, 57}) EXPECT_EQ(embed(2, {number})[number], reference[number]);
  }
}

TEST(EmbedTexts, GivesEveryTextItsEmbeddingAndEncodesItOnce) {
  PlainEncoder encoder;
  ThreadPool pool(3);
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});  // every letter is a token
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i)
    texts.push_back(std::string(1, static_cast<char>('a' + i % 26)) + static_cast<char>('a' + i / 26 % 26));
  const std::vector<float> embeddings = embed_texts({encoder, pool, tokenizer}, texts);
  ASSERT_EQ(embeddings.size(), 9000u);
  for (std::size_t text = 0; text < texts.size(); ++text) {
    const std::vector<std::int32_t> ids = tokenizer.encode(texts[text]);
    EXPECT_EQ(embeddings[3 * text], static_cast<float>(ids.at(0)));
    EXPECT_EQ(embeddings[3 * text + 1], static_cast<float>(ids.at(1)));
    EXPECT_EQ(embeddings[3 * text + 2], 3);
  }
  EXPECT_EQ(encoder.texts, 26u * 26);
  EXPECT_TRUE(embed_texts({encoder, pool, tokenizer}, {}).empty());
}

TEST(EmbedTexts, RefusesEmbeddingsThatAreNotNumbers) {
  class Broken : public PlainEncoder {
    void encode_texts(std::span<const std::int32_t>, std::span<float> embeddings) override {
      embeddings.back() = std::nanf("");
    }
  } encoder;
  ThreadPool pool(1);
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});
  EXPECT_THAT(
      [&] {
        embed_texts({encoder, pool, tokenizer}, std::vector<std::string>{"a"});
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("not numbers")));
}

/// A tower without a causal mask sees the padding.
TEST(EmbedTexts, PadsWithTheModelsToken) {
  ThreadPool pool(1);
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});
  for (const int pad : {0, 3}) {
    PlainEncoder encoder(4, pad);
    EXPECT_EQ(embed_texts({encoder, pool, tokenizer}, std::vector<std::string>{""})[1], static_cast<float>(pad));
  }
}

TEST(EmbedTexts, RefusesOrCutsALongText) {
  PlainEncoder encoder;
  ThreadPool pool(2);
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});
  const std::vector<std::string> texts = {"a", "abcdef"};
  EXPECT_THROW(embed_texts({encoder, pool, tokenizer, Overflow::error}, texts), Error);
  EXPECT_EQ(embed_texts({encoder, pool, tokenizer, Overflow::truncate}, texts)[5], 4) << "the end token stays";
}

}  // namespace
}  // namespace gondola
