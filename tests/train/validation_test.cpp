#include "train/validation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "metrics/metrics.h"
#include "tests/support/files.h"
#include "train/loader.h"

namespace gondola {
namespace {

constexpr std::int64_t embed_dim = 4;

/// An arbitrary direction for each row, depending on the row's sum.
at::Tensor embed(const at::Tensor& rows) {
  const auto sums = rows.to(torch::kDouble).flatten(1).sum(1, true);
  const auto embeddings = torch::sin(sums * 0.37 + torch::arange(embed_dim) * 1.7);
  return (embeddings / embeddings.norm(2, 1, true)).to(torch::kFloat);
}

/// More captions than are compared at a time, against the whole matrix.
TEST(Validation, FindsRecallOfAnyNumberOfCaptions) {
  constexpr int images = 8, captions = 75;
  const test::TemporaryFolder folder;
  std::ofstream table(folder.path() / "pairs.csv");
  table << "image,caption\n";
  std::vector<std::string> texts;
  std::vector<std::vector<int>> texts_of(images), image_of;
  for (int image = 0; image < images; ++image) {
    for (int i = 0; i < captions; ++i) {
      texts_of[static_cast<std::size_t>(image)].push_back(static_cast<int>(texts.size()));
      image_of.push_back({image});
      texts.push_back(fmt::format("picture {} said {} times", image, i * i));
      table << (test::golden("train") / "vit" / "images" / fmt::format("{}.png", image)).string() << ',' << texts.back()
            << '\n';
    }
  }
  table.close();
  Recipe recipe;
  recipe.preprocess.size = 16;
  recipe.model.embed_dim = embed_dim;
  recipe.model.text.causal = true;
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  std::vector<at::Tensor> pixels, ids;
  const Encoders encoders = {[&](const at::Tensor& batch) { return pixels.emplace_back(embed(batch)); },
                             [&](const at::Tensor& batch) { return ids.emplace_back(embed(batch)); }};
  const auto figures =
      validate(*open_dataset((folder.path() / "pairs.csv").string()), tokenizer, recipe, encoders).value();

  const auto image_rows = torch::cat(pixels), text_rows = torch::cat(ids);
  const auto recall = [](const at::Tensor& queries, const at::Tensor& items, const auto& relevant, std::size_t k) {
    const auto scores = torch::matmul(queries, items.t()).contiguous();
    const std::span rows(scores.template data_ptr<float>(), static_cast<std::size_t>(scores.numel()));
    return 100 * recall_at_k(rows, relevant, static_cast<std::size_t>(items.size(0)), k);
  };
  for (const std::size_t k : {1, 5, 10}) {
    EXPECT_NEAR(figures.at(fmt::format("image_to_text_recall@{}", k)), recall(image_rows, text_rows, texts_of, k),
                1e-9);
    EXPECT_NEAR(figures.at(fmt::format("text_to_image_recall@{}", k)),
                recall(text_rows, image_rows, image_of, std::min<std::size_t>(k, images)), 1e-9);
  }
  EXPECT_GT(figures.at("text_to_image_recall@5"), figures.at("text_to_image_recall@1"));
}

/// Expects each class to be the mean of its prompts' embeddings of length 1, computed one by one.
TEST(Validation, FindsZeroShotAccuracyOfClassFolders) {
  const std::vector<std::string> names = {"cat", "dog", "sea", "tea", "photo", "bus", "owl"};
  const test::TemporaryFolder folder;
  for (std::size_t i = 0; i < 21; ++i) {
    const auto place = folder.path() / names[i % names.size()] / fmt::format("{}.png", i);
    std::filesystem::create_directories(place.parent_path());
    std::filesystem::copy(test::golden("train") / "vit" / "images" / fmt::format("{}.png", i % 8), place);
  }
  Recipe recipe;
  recipe.preprocess.size = 16;
  recipe.model.embed_dim = embed_dim;
  recipe.model.text.causal = true;
  recipe.validation_templates = {"a photo of a {}.", "{} by the sea", "the {}"};
  const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("cli/model"));
  std::vector<at::Tensor> pixels;
  const Encoders encoders = {[&](const at::Tensor& batch) { return pixels.emplace_back(embed(batch)); },
                             [&](const at::Tensor& batch) {  // embeddings of various lengths
                               return embed(batch) * (1 + batch.to(torch::kFloat).sum(1, true).remainder(5));
                             }};
  const auto dataset = open_dataset(folder.path().string());
  const auto figures = validate(*dataset, tokenizer, recipe, encoders).value();

  std::vector<at::Tensor> head;
  for (const std::string& name : dataset->class_names()) {
    auto sum = torch::zeros({1, embed_dim});
    for (const std::string& text : recipe.validation_templates)
      sum += embed(tokenise(tokenizer, recipe.model.text, {fill_template(text, name)}));
    head.push_back(sum / sum.norm());
  }
  const auto scores = torch::matmul(torch::cat(pixels), torch::cat(head).t());
  int first = 0, first_five = 0;
  for (std::size_t i = 0; i < dataset->size(); ++i) {
    const auto row = scores[static_cast<std::int64_t>(i)];
    const auto better = (row > row[dataset->get(i).label]).sum().item<int>();
    first += better == 0;
    first_five += better < 5;
  }
  EXPECT_NEAR(figures.at("zero_shot_top1"), 100.0 * first / 21, 1e-9);
  EXPECT_NEAR(figures.at("zero_shot_top5"), 100.0 * first_five / 21, 1e-9);
  EXPECT_GT(first, 0);
  EXPECT_GT(first_five, first);
}

/// More pictures than are encoded at a time. The first cannot be read, and only those after the first batch are
/// labelled correctly.
class ManyPictures : public Dataset {
 public:
  static constexpr std::size_t kinds = 8, encoded_together = 256;

  std::size_t size() const override { return 300; }
  Sample get(std::size_t index) const override {
    if (index == 0) throw Error("picture 0 is gone");
    const std::size_t kind = index % kinds;
    Sample sample;
    sample.image = read_file(test::golden("train") / "vit" / "images" / fmt::format("{}.png", kind));
    sample.label = static_cast<int>(index < encoded_together ? (kind + 1) % kinds : kind);
    return sample;
  }
  void for_each_caption(const std::function<void(std::string_view)>&) const override {}
  const std::vector<std::string>& class_names() const override { return names_; }

 private:
  const std::vector<std::string> names_ = std::vector<std::string>(kinds, "kind");
};

TEST(Validation, ScoresMorePicturesThanOneBatchHolds) {
  Recipe recipe;
  recipe.preprocess.size = 16;
  recipe.model.embed_dim = embed_dim;
  const ManyPictures dataset;
  std::vector<at::Tensor> batches;
  const Encoders encoders = {[&](const at::Tensor& pixels) { return batches.emplace_back(embed(pixels)); },
                             [&](const at::Tensor&) {  // a class's text embeds like one of its pictures
                               return batches.at(0).narrow(0, ManyPictures::kinds, ManyPictures::kinds);
                             }};
  const auto figures = validate(dataset, ClipTokenizer::load(test::golden("cli/model")), recipe, encoders).value();
  EXPECT_NEAR(figures.at("zero_shot_top1"), 100 * 44 / 299.0, 1e-9);
}

}  // namespace
}  // namespace gondola
