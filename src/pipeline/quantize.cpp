#include "pipeline/quantize.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <ranges>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/random.h"
#include "checkpoint/quantized_weights.h"
#include "engine/block_weights.h"
#include "engine/cpu_encoder.h"
#include "metrics/metrics.h"
#include "pipeline/embed.h"
#include "pipeline/zero_shot_classifier.h"
#include "text/byte_alphabet.h"

namespace gondola {
namespace {

constexpr std::size_t max_texts = 256;

/// Whole words of the vocabulary, evenly spread over it.
std::vector<std::string> vocabulary_words(const ClipTokenizer& tokenizer, std::size_t most) {
  std::vector<std::string> words;
  for (std::int32_t id = 0; id < tokenizer.size(); ++id) {
    std::string_view token = tokenizer.token(id);
    if (!token.ends_with(end_of_word)) continue;
    token.remove_suffix(std::string_view(end_of_word).size());
    const bool letters = std::ranges::all_of(token, [](char c) { return c >= 'a' && c <= 'z'; });
    if (letters && token.size() > 2) words.emplace_back(token);
  }
  if (words.size() <= most) return words;
  std::vector<std::string> spread;
  for (std::size_t i = 0; i < most; ++i) spread.push_back(words[i * words.size() / most]);
  return spread;
}

/// Texts as the text tower reads them, n × context_length.
class Texts {
 public:
  Texts(const TextTowerConfig& config, const ClipTokenizer* tokenizer) : config_(config), tokenizer_(tokenizer) {}

  void add(const std::string& text) {
    const auto padded = tokenizer_->encode_padded(text, config_.context_length, config_.pad_id, Overflow::truncate);
    ids_.insert(ids_.end(), padded.begin(), padded.end());
  }

  void add_random(std::uint64_t seed) {
    Random random(seed);
    const auto context = static_cast<std::size_t>(config_.context_length);
    std::vector<std::int32_t> text(context, config_.pad_id);
    const std::size_t words = context < 3 ? 0 : 1 + random.below(std::min<std::size_t>(context - 2, 16));
    for (std::size_t i = 0; i < words; ++i)
      text[i + 1] = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(config_.vocab_size)));
    text[0] = config_.start_id;
    text[std::min(words + 1, context - 1)] = config_.end_id;
    ids_.insert(ids_.end(), text.begin(), text.end());
  }

  std::vector<float> encode(Encoder& encoder) const {
    const std::size_t count = ids_.size() / static_cast<std::size_t>(config_.context_length);
    std::vector<float> embeddings(count * static_cast<std::size_t>(encoder.config().embed_dim));
    encoder.encode_texts(ids_, embeddings);
    return embeddings;
  }

 private:
  const TextTowerConfig& config_;
  const ClipTokenizer* tokenizer_;
  std::vector<std::int32_t> ids_;
};

/// Calibration texts put one or more words into a template; labels, unless they are given, use other words.
struct CalibrationTexts {
  Texts calibration, labels;
};

CalibrationTexts make_texts(const ModelConfig& config, const QuantizeInputs& inputs) {
  CalibrationTexts texts = {{config.text, inputs.tokenizer}, {config.text, inputs.tokenizer}};
  for (const std::string& label : inputs.labels) texts.labels.add(fill_template(default_template, label));
  std::vector<std::string> words;
  if (inputs.tokenizer != nullptr) words = vocabulary_words(*inputs.tokenizer, 2 * max_texts);
  if (words.size() < 2) {  // no vocabulary, or none of Latin letters
    for (std::size_t i = 0; i < max_texts; ++i) texts.calibration.add_random(2 * i);
    if (inputs.labels.empty())
      for (std::size_t i = 0; i < max_texts; ++i) texts.labels.add_random(2 * i + 1);
    return texts;
  }
  constexpr std::size_t longest = 8;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    std::string several = words[i];
    for (std::size_t more = i / 2 % longest; more > 0; --more) several += " " + words[(i + 38 * more) % words.size()];
    texts.calibration.add(fill_template(default_template, several));
    if (inputs.labels.empty() && i + 1 < words.size()) texts.labels.add(fill_template(default_template, words[i + 1]));
  }
  return texts;
}

/// One half of the inputs: every other image, and texts of its own.
class Split {
 public:
  Split(const QuantizeInputs& inputs, const PreprocessConfig& preprocess, ThreadPool& pool, std::size_t first,
        const Texts& texts, std::string purpose)
      : inputs_(inputs),
        preprocess_(preprocess),
        pool_(pool),
        first_(inputs.images > 1 ? first : 0),
        texts_(texts),
        purpose_(std::move(purpose)) {}

  /// Embeds the images that can be read. Every call reads them again and throws Error when others fail than before.
  std::vector<float> images(Encoder& encoder, const std::string& stage) {
    const std::size_t count = (inputs_.images - first_ + 1) / 2;
    std::vector<float> embeddings;
    std::map<std::size_t, std::string> errors;
    Progress progress(stage, count, "images");
    embed_images(
        {encoder, pool_, preprocess_}, count, [&](std::size_t i) { return inputs_.load(2 * i + first_); },
        [&](const ImageEmbedding& image) {
          stop_if_interrupted();
          embeddings.insert(embeddings.end(), image.values.begin(), image.values.end());
          if (!image.error.empty()) errors.emplace(image.index, image.error);
          progress.update(image.index + 1);
        });
    if (embeddings.empty())
      fail("none of the {} images for {} can be read; the first: {}", count, purpose_, errors.begin()->second);
    if (!errors_) errors_ = errors;
    if (!std::ranges::equal(*errors_ | std::views::keys, errors | std::views::keys))
      fail("an image that could be read before cannot be read now, or the reverse: {}",
           errors.empty() ? errors_->begin()->second : errors.rbegin()->second);
    return embeddings;
  }

  std::vector<float> texts(Encoder& encoder) const {
    std::vector<float> embeddings = texts_.encode(encoder);
    require_numbers(embeddings);
    return embeddings;
  }

  /// Why images could not be read, by their index among all images.
  std::map<std::size_t, std::string> errors() const {
    std::map<std::size_t, std::string> all;
    for (const auto& [index, error] : errors_.value()) all.emplace(2 * index + first_, error);
    return all;
  }

 private:
  const QuantizeInputs& inputs_;
  const PreprocessConfig& preprocess_;
  ThreadPool& pool_;
  std::size_t first_;
  const Texts& texts_;
  std::string purpose_;
  std::optional<std::map<std::size_t, std::string>> errors_;  ///< of the first call, by index in this half
};

struct Embeddings {
  std::vector<float> images, texts;
};

/// The mean row of exact − found.
std::vector<float> mean_difference(std::span<const float> exact, std::span<const float> found, std::size_t dim) {
  std::vector<double> sum(dim);
  for (std::size_t i = 0; i < exact.size(); ++i) sum[i % dim] += double{exact[i]} - found[i];
  std::vector<float> mean;
  for (double value : sum) mean.push_back(static_cast<float>(value / static_cast<double>(exact.size() / dim)));
  return mean;
}

/// Corrects one int8 tower: keeps layers in bf16 until its error is allowed, then shifts its embeddings.
class TowerQuantizer {
 public:
  /// Returns the tower's embeddings of the calibration inputs, with these weights.
  using Embed = std::function<std::vector<float>(const TensorMap& weights)>;

  TowerQuantizer(TensorMap& weights, std::vector<QuantizedLayer> layers, std::vector<float> exact, std::size_t dim,
                 Embed embed)
      : weights_(weights), layers_(std::move(layers)), exact_(std::move(exact)), dim_(dim), embed_(std::move(embed)) {}

  std::vector<QuantizedLayer> run(const std::string& norm_bias, const std::string& projection) {
    std::vector<float> found = embed_(weights_);
    // One kind of layer at a time, the most helpful kind first.
    while (error(found) > 1 && keep_kind_in_bf16()) found = embed_(weights_);
    shift_embeddings(weights_, norm_bias, projection, mean_difference(exact_, found, dim_));
    return std::move(layers_);
  }

 private:
  /// The worst error of the calibration inputs, relative to what is allowed. An int8 model should reach a cosine of
  /// 0.998, and of 0.995 without the mean embedding, for any input: half of that error is left for worse inputs.
  double error(std::vector<float> found) const {
    constexpr double allowed = 0.001, allowed_centred = 0.0025;
    const std::vector<float> shift = mean_difference(exact_, found, dim_);
    for (std::size_t i = 0; i < found.size(); ++i) found[i] += shift[i % dim_];
    const EmbeddingCosines cosines = compare_embeddings(exact_, found, dim_);
    return std::max((1 - cosines.min) / allowed, (1 - cosines.min_centred) / allowed_centred);
  }

  static void keep(const std::string& kind, TensorMap& weights, std::vector<QuantizedLayer>& layers) {
    for (QuantizedLayer& layer : layers)
      if (layer.precision == Precision::int8 && layer.weight.ends_with(kind)) keep_in_bf16(weights, layer);
  }

  /// Keeps in bf16 the kind of layer that helps most; false when none is left in int8.
  bool keep_kind_in_bf16() {
    std::string best;
    double least = 0;
    for (const BlockLayer& kind : block_layers) {
      TensorMap weights = weights_;
      std::vector<QuantizedLayer> layers = layers_;
      keep(kind.weight, weights, layers);
      if (weights.size() == weights_.size()) continue;  // no scales were removed: nothing of this kind is int8
      const double left = error(embed_(weights));
      if (!best.empty() && left >= least) continue;
      least = left;
      best = kind.weight;
    }
    if (!best.empty()) keep(best, weights_, layers_);
    return !best.empty();
  }

  TensorMap& weights_;
  std::vector<QuantizedLayer> layers_;
  std::vector<float> exact_;
  std::size_t dim_;
  Embed embed_;
};

/// The cosine of each image with each label: images × labels.
std::vector<float> label_cosines(Embeddings embeddings, std::size_t dim) {
  normalise_rows(embeddings.images, dim);
  normalise_rows(embeddings.texts, dim);
  return similarities(embeddings.images, embeddings.texts, dim);
}

/// The best label of each image.
std::vector<int> best_labels(std::span<const float> cosines, std::size_t labels) {
  std::vector<int> best;
  for (; !cosines.empty(); cosines = cosines.subspan(labels)) {
    const auto row = cosines.first(labels);
    best.push_back(static_cast<int>(std::ranges::max_element(row) - row.begin()));
  }
  return best;
}

/// Stores weights no wider than their readers need: int8 models run a ViT's patch embedding in bf16 where the processor
/// supports it, and a token embedding in fp16 is off by a thousandth of its size.
void shrink(TensorMap& weights, bool vit) {
  const auto store = [&](const std::string& name, DType type) {
    const auto found = weights.find(name);
    if (found == weights.end() || found->second.type != DType::float32) return;
    found->second = convert(found->second, type);
  };
  if (vit) store("visual.conv1.weight", DType::bfloat16);
  constexpr float largest_fp16 = 65504;
  const std::vector<float> tokens = to_floats(weights.at("token_embedding.weight"));
  if (std::ranges::all_of(tokens, [](float value) { return std::abs(value) <= largest_fp16; }))
    store("token_embedding.weight", DType::float16);
}

}  // namespace

EmbeddingCosines compare_embeddings(std::span<const float> exact, std::span<const float> found, std::size_t dim) {
  EmbeddingCosines result;
  result.count = exact.size() / dim;
  if (result.count == 0) return result;
  std::vector<float> left(exact.begin(), exact.end()), right(found.begin(), found.end());
  normalise_rows(left, dim);
  normalise_rows(right, dim);
  std::vector<double> mean(dim);
  for (std::size_t i = 0; i < left.size(); ++i) mean[i % dim] += left[i] / static_cast<double>(result.count);
  const auto cosine = [&](std::size_t row, double centred) -> double {
    double product = 0, a = 0, b = 0;
    for (std::size_t i = 0; i < dim; ++i) {
      const double x = left[row * dim + i] - centred * mean[i], y = right[row * dim + i] - centred * mean[i];
      product += x * y;
      a += x * x;
      b += y * y;
    }
    if (a == 0) return 1.0;  // a single row equals the mean
    const double found_cosine = product / std::sqrt(a * b);
    return std::isfinite(found_cosine) ? found_cosine : 0;
  };
  result.mean = result.mean_centred = 0;
  for (std::size_t row = 0; row < result.count; ++row) {
    const double raw = cosine(row, 0), centred = cosine(row, 1), share = 1 / static_cast<double>(result.count);
    result.min = std::min(result.min, raw);
    result.min_centred = std::min(result.min_centred, centred);
    result.mean += raw * share;
    result.mean_centred += centred * share;
  }
  return result;
}

ModelFiles quantize(const ModelFiles& model, const QuantizeInputs& inputs, ThreadPool& pool,
                    QuantizationReport& report) {
  if (is_quantized(model.weights)) fail("{}: is int8 already", model.config.name);
  if (inputs.images == 0) fail("{}: int8 is calibrated on images, and there are none", model.config.name);
  if (!inputs.labels.empty() && inputs.tokenizer == nullptr)
    fail("{}: labels need a vocabulary, and the model has none; name one with --vocab", model.config.name);
  const CalibrationTexts texts = make_texts(model.config, inputs);
  Split calibrating(inputs, model.preprocess, pool, 0, texts.calibration, "calibration");
  Split evaluating(inputs, model.preprocess, pool, 1, texts.labels, "evaluation");
  const auto dim = static_cast<std::size_t>(model.config.embed_dim);
  const auto encoder = [&](const TensorMap& weights, const CpuOptions& options) {
    return make_cpu_encoder(model.config, weights, options, pool);
  };
  const auto embed = [&](Split& split, Encoder& with, const std::string& stage) {
    Embeddings embeddings = {split.images(with, stage), split.texts(with)};
    report.errors.merge(split.errors());
    return embeddings;
  };
  const Embeddings exact = embed(evaluating, *encoder(model.weights, {Precision::fp32}), "fp32");
  const bool vit = model.config.image.architecture == ImageArchitecture::vit;
  Calibration calibration;
  const CpuOptions observing = {.precision = Precision::fp32, .calibration = &calibration};
  Embeddings calibrated;
  if (vit)
    calibrated = embed(calibrating, *encoder(model.weights, observing), "calibration");
  else  // no image calibrates a ModifiedResNet, which stays as it is
    calibrated.texts = calibrating.texts(*encoder(model.weights, observing));

  ModelFiles result = model;
  shrink(result.weights, vit);
  std::vector<QuantizedLayer> image_layers, text_layers;
  if (vit) image_layers = quantize_blocks(result.weights, "visual.", model.config.image.layers, calibration, pool);
  text_layers = quantize_blocks(result.weights, "", model.config.text.layers, calibration, pool);
  if (vit) {
    TowerQuantizer tower(
        result.weights, std::move(image_layers), std::move(calibrated.images), dim,
        [&](const TensorMap& weights) { return calibrating.images(*encoder(weights, {Precision::int8}), "int8"); });
    report.layers = tower.run("visual.ln_post.bias", "visual.proj");
  }
  TowerQuantizer tower(
      result.weights, std::move(text_layers), std::move(calibrated.texts), dim,
      [&](const TensorMap& weights) { return calibrating.texts(*encoder(weights, {Precision::int8})); });
  std::ranges::move(tower.run("ln_final.bias", "text_projection"), std::back_inserter(report.layers));
  if (!is_quantized(result.weights)) fail("{}: no layer is good enough in int8", model.config.name);

  const auto quantized = encoder(result.weights, {Precision::int8});
  Embeddings found = {evaluating.images(*quantized, "int8"), evaluating.texts(*quantized)};
  report.images = compare_embeddings(exact.images, found.images, dim);
  report.texts = compare_embeddings(exact.texts, found.texts, dim);
  report.labels = exact.texts.size() / dim;
  const std::vector<int> expected = best_labels(label_cosines(exact, dim), report.labels);
  report.agreement = top_k_accuracy(label_cosines(std::move(found), dim), expected, report.labels, 1);
  return result;
}

}  // namespace gondola
