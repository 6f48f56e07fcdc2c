// The public C++ API, compared with transformers (tests/reference/cli.py).
#include <gmock/gmock.h>
#include <gondola/model.h>

#include <cmath>

#include "base/json.h"
#include "tests/support/files.h"

namespace gondola {
namespace {

using testing::ElementsAreArray;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;
using testing::ThrowsMessage;
namespace fs = std::filesystem;

class Api : public testing::Test {
 protected:
  static ModelOptions exactly() {
    ModelOptions options;
    options.precision = "fp32";
    return options;
  }
  /// The expected embedding, scaled to length 1.
  std::vector<float> expected_embedding(const char* kind, const std::string& name) const {
    auto values = expected_.at(kind).at(name).get<std::vector<float>>();
    double square = 0;
    for (float value : values) square += static_cast<double>(value) * value;
    for (float& value : values) value = static_cast<float>(value / std::sqrt(square));
    return values;
  }

  const fs::path folder_ = test::golden("cli");
  const Json expected_ = Json::parse(read_file(folder_ / "expected.json"));
  const Model model_ = Model::load((folder_ / "model").string(), exactly());
};

TEST_F(Api, ReportsTheModelsDimensions) {
  EXPECT_EQ(model_.embed_dim(), 16u);
  EXPECT_EQ(model_.image_size(), 32);
  EXPECT_EQ(model_.context_length(), 40);
}

TEST_F(Api, EmbedsFilesBytesAndPixelsAlike) {
  const fs::path path = folder_ / "images" / "a.png";
  const std::string bytes = read_file(path);
  std::vector<std::uint8_t> pixels;  // as tests/reference/cli.py draws a.png
  for (int row = 0; row < 60; ++row)
    for (int column = 0; column < 47; ++column)
      for (int value : {row * 4, column * 5, 255 - row * 4}) pixels.push_back(static_cast<std::uint8_t>(value));
  const std::vector<ImageInput> inputs = {path, EncodedImage{std::as_bytes(std::span(bytes))},
                                          RgbImage{47, 60, pixels}};
  const std::vector<float> expected = expected_embedding("images", "a.png");
  for (const ImageInput& input : inputs)
    EXPECT_THAT(model_.embed_image(input), Pointwise(FloatNear(1e-5f), expected)) << input.index();

  const std::vector<float> all = model_.embed_images(inputs);
  ASSERT_EQ(all.size(), 3 * expected.size());
  EXPECT_THAT(std::vector<float>(all.end() - 16, all.end()), ElementsAreArray(model_.embed_image(inputs[2])));
  EXPECT_TRUE(model_.embed_images({}).empty());
}

TEST_F(Api, EmbedsTexts) {
  const std::vector<std::string> texts = {"the cat", "a dog"};
  std::vector<float> expected;
  for (const std::string& text : texts)
    for (float value : expected_embedding("texts", text)) expected.push_back(value);
  EXPECT_THAT(model_.embed_texts(texts), Pointwise(FloatNear(1e-5f), expected));
  EXPECT_THAT(model_.embed_text("a dog"), Pointwise(FloatNear(1e-5f), expected_embedding("texts", "a dog")));
  std::string cats = " cat";
  while (cats.size() < 400) cats += cats;  // only 38 of them fit
  EXPECT_THROW(model_.embed_text(cats), Error);
  EXPECT_EQ(model_.embed_text(cats, /*truncate=*/true), model_.embed_text(cats.substr(0, 38 * 4)));
  EXPECT_EQ(model_.embed_text("\xff cat"), model_.embed_text("\uFFFD cat"));
}

TEST_F(Api, ClassifiesBestFirst) {
  const auto labels = expected_.at("labels").get<std::vector<std::string>>();
  for (const Json& set : expected_.at("classify")) {
    const auto templates = set.at("templates").get<std::vector<std::string>>();
    const Classifier classifier = model_.classifier(labels, templates);
    const auto scores = set.at("scores").at("b.jpg").get<std::vector<double>>();
    const std::vector<ScoredLabel> found = classifier.classify(folder_ / "images" / "b.jpg");
    ASSERT_EQ(found.size(), labels.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto label = std::ranges::find(labels, found[i].label) - labels.begin();
      EXPECT_NEAR(found[i].score, scores.at(static_cast<std::size_t>(label)), 2e-5) << found[i].label;
      EXPECT_LE(found[i].score, found[i == 0 ? 0 : i - 1].score);
    }
  }
  const Classifier classifier = model_.classifier(labels);
  const std::vector<ImageInput> images = {folder_ / "images" / "a.png", folder_ / "images" / "b.jpg"};
  const std::vector<double> scores = classifier.scores(model_.embed_images(images));
  ASSERT_EQ(scores.size(), 2 * labels.size());
  for (std::size_t image = 0; image < 2; ++image)
    for (const ScoredLabel& found : classifier.classify(images[image]))
      EXPECT_EQ(scores[image * labels.size() +
                       static_cast<std::size_t>(std::ranges::find(labels, found.label) - labels.begin())],
                found.score);
  EXPECT_THROW(classifier.scores(std::vector<float>(17)), Error);

  const auto by_default = model_.classifier(labels).classify(folder_ / "images" / "a.png");
  ASSERT_EQ(by_default.size(), labels.size());
  const auto expected = expected_.at("classify").at(0).at("scores").at("a.png").get<std::vector<double>>();
  for (const ScoredLabel& found : by_default)
    EXPECT_NEAR(found.score,
                expected.at(static_cast<std::size_t>(std::ranges::find(labels, found.label) - labels.begin())), 2e-5)
        << found.label << " by \"a photo of a {}.\"";
}

TEST_F(Api, TokenizesAsTheModelDoes) {
  const Tokenizer tokenizer = model_.tokenizer();
  for (const auto& [text, ids] : expected_.at("ids").items()) {
    EXPECT_EQ(tokenizer.encode(text, 40), ids.get<std::vector<std::int32_t>>());
    EXPECT_EQ(tokenizer.encode(text).size() + 2, ids.size());
  }
  EXPECT_EQ(tokenizer.token(tokenizer.encode("dog").front()), "dog</w>");
  const std::string words(300, 'z');
  EXPECT_THAT([&] { tokenizer.encode(words, 40); }, ThrowsMessage<Error>(HasSubstr("40")));
  EXPECT_EQ(tokenizer.encode(words, 40, /*truncate=*/true).size(), 40u);
  EXPECT_EQ(tokenizer.encode(words, 40, /*truncate=*/true).back(), tokenizer.end_id());
  EXPECT_EQ(Tokenizer::load(folder_ / "model").size(), tokenizer.size());
  EXPECT_THROW(tokenizer.token(tokenizer.size()), Error);
  EXPECT_THROW(tokenizer.encode("a", 1), Error);
}

TEST_F(Api, SaysWhatIsWrong) {
  EXPECT_THAT([&] { Model::load("/missing/model"); }, ThrowsMessage<Error>(HasSubstr("/missing/model")));
  ModelOptions options;
  options.precision = "fp33";
  EXPECT_THROW(Model::load((folder_ / "model").string(), options), Error);
  EXPECT_THAT([&] { model_.embed_image(folder_ / "damaged.png"); }, ThrowsMessage<Error>(HasSubstr("damaged.png")));
  const std::vector<ImageInput> several = {folder_ / "images" / "a.png", folder_ / "damaged.png"};
  EXPECT_THAT([&] { model_.embed_images(several); }, ThrowsMessage<Error>(HasSubstr("image 2 of 2")));
  const std::vector<std::uint8_t> pixels(10);
  EXPECT_THAT([&] { model_.embed_image(RgbImage{2, 2, pixels}); }, ThrowsMessage<Error>(HasSubstr("2 × 2")));
  EXPECT_THAT([&] { model_.embed_image(RgbImage{-2, -2, pixels}); }, ThrowsMessage<Error>(HasSubstr("-2")));
  EXPECT_THROW(model_.embed_image(EncodedImage{}), Error);
  EXPECT_THROW(model_.embed_text(std::string(300, 'z')), Error);
  EXPECT_THROW(model_.classifier({}), Error);
  for (const ModelOptions& wrong : {ModelOptions{.threads = -1}, ModelOptions{.device = "cuda:99"}})
    EXPECT_THROW(Model::load((folder_ / "model").string(), wrong), Error);
  options.precision = "auto";
  options.vocabulary = std::string(300, 'x');  // too long for a file name
  const Model wordless = Model::load((folder_ / "model").string(), options);
  EXPECT_THROW(wordless.embed_text("a"), Error);
}

TEST_F(Api, TakesConfigurationAndVocabularyFromElsewhere) {
  ModelOptions options;
  const std::string bare = test::golden("models/vit_state_dict.pt").string();
  EXPECT_THROW(Model::load(bare), Error);
  options.config = test::golden("models/vit_state_dict.json");
  options.threads = 1;
  EXPECT_EQ(Model::load(bare, options).embed_dim(), 24u);

  test::TemporaryFolder copy;
  std::filesystem::copy(folder_ / "model", copy.path() / "model");
  for (const char* file : {"vocab.json", "merges.txt"}) std::filesystem::remove(copy.path() / "model" / file);
  options = {};
  options.vocabulary = folder_ / "model";
  EXPECT_EQ(Model::load((copy.path() / "model").string(), options).embed_text("a cat"), model_.embed_text("a cat"));
}

}  // namespace
}  // namespace gondola
