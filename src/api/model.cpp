#include <gondola/model.h>

#include <algorithm>
#include <utility>

#include "api/rethrow_filesystem_errors.h"
#include "base/error.h"
#include "image/image.h"
#include "metrics/metrics.h"
#include "pipeline/embed.h"
#include "pipeline/zero_shot_classifier.h"

namespace gondola {
namespace {

Image decode(const std::filesystem::path& path) {
  return load_image(path);
}

Image decode(const EncodedImage& encoded) {
  return decode_image(encoded.bytes, "image in memory");
}

Image decode(const RgbImage& rgb) {
  if (rgb.width <= 0 || rgb.height <= 0 ||
      rgb.pixels.size() != static_cast<std::size_t>(rgb.width) * static_cast<std::size_t>(rgb.height) * 3)
    fail("RGB image of {} × {} pixels: found {} bytes, expected width × height × 3", rgb.width, rgb.height,
         rgb.pixels.size());
  Image image = make_uninitialised_image(PixelMode::rgb, rgb.width, rgb.height);
  std::ranges::copy(rgb.pixels, image.pixels.begin());
  return image;
}

/// The embeddings of n images: n × embed_dim values, each row of length 1.
std::vector<float> embed_inputs(LoadedModel& model, std::span<const ImageInput> images) {
  std::vector<float> embeddings;
  embeddings.reserve(images.size() * model.embed_dim());
  embed_images(
      model.image_stages(), images.size(),
      [&](std::size_t index) { return std::visit([](const auto& image) { return decode(image); }, images[index]); },
      [&](const ImageEmbedding& result) {
        if (!result.error.empty() && images.size() == 1) throw Error(result.error);
        if (!result.error.empty()) fail("image {} of {}: {}", result.index + 1, images.size(), result.error);
        embeddings.insert(embeddings.end(), result.values.begin(), result.values.end());
      });
  normalise_rows(embeddings, model.embed_dim());
  return embeddings;
}

}  // namespace

Classifier::Classifier(std::shared_ptr<LoadedModel> model, std::shared_ptr<const ZeroShotClassifier> classifier)
    : model_(std::move(model)), classifier_(std::move(classifier)) {}

std::vector<ScoredLabel> Classifier::classify(const ImageInput& image) const {
  const std::vector<double> scores = classifier_->scores(embed_inputs(*model_, {&image, 1}));
  std::vector<ScoredLabel> best;
  for (std::size_t index : top_k(scores, scores.size())) best.push_back({classifier_->labels()[index], scores[index]});
  return best;
}

std::vector<double> Classifier::scores(std::span<const float> embeddings) const {
  const std::size_t dim = model_->embed_dim();
  if (embeddings.size() % dim != 0) fail("embeddings of {} values each: found {} values", dim, embeddings.size());
  std::vector<double> scores;
  for (std::size_t first = 0; first < embeddings.size(); first += dim) {
    const std::vector<double> of_one = classifier_->scores(embeddings.subspan(first, dim));
    scores.insert(scores.end(), of_one.begin(), of_one.end());
  }
  return scores;
}

Model::Model(std::shared_ptr<LoadedModel> model) : model_(std::move(model)) {}

Model Model::load(const std::string& name_or_path, const ModelOptions& options) {
  if (options.threads < 0) fail("{} threads: expected 0 (one for each processor) or more", options.threads);
  const ModelSource source = {name_or_path,    options.config, options.vocabulary,
                              options.threads, options.device, parse_precision(options.precision)};
  return rethrow_filesystem_errors([&] { return Model(std::make_shared<LoadedModel>(source)); });
}

std::size_t Model::embed_dim() const {
  return model_->embed_dim();
}

int Model::image_size() const {
  return model_->files().preprocess.size;
}

int Model::context_length() const {
  return model_->config().text.context_length;
}

std::vector<float> Model::embed_image(const ImageInput& image) const {
  return embed_inputs(*model_, {&image, 1});
}

std::vector<float> Model::embed_images(std::span<const ImageInput> images) const {
  return embed_inputs(*model_, images);
}

std::vector<float> Model::embed_text(const std::string& text, bool truncate) const {
  return embed_texts({&text, 1}, truncate);
}

std::vector<float> Model::embed_texts(std::span<const std::string> texts, bool truncate) const {
  const Overflow overflow = truncate ? Overflow::truncate : Overflow::error;
  std::vector<float> embeddings = gondola::embed_texts(model_->text_stages(overflow), texts);
  normalise_rows(embeddings, model_->embed_dim());
  return embeddings;
}

Classifier Model::classifier(std::span<const std::string> labels, std::span<const std::string> templates) const {
  const std::string fallback = default_template;
  return Classifier(
      model_, std::make_shared<ZeroShotClassifier>(*model_, std::vector<std::string>(labels.begin(), labels.end()),
                                                   templates.empty() ? std::span(&fallback, 1) : templates));
}

Tokenizer Model::tokenizer() const {
  return Tokenizer(std::shared_ptr<const ClipTokenizer>(model_, &model_->tokenizer()));
}

}  // namespace gondola
