#include "train/validation.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <tuple>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/streams.h"
#include "metrics/metrics.h"
#include "train/loader.h"

namespace gondola {
namespace {

constexpr std::size_t batch_size = 256;

std::vector<float> to_rows(const at::Tensor& embeddings) {
  const auto values = embeddings.to(at::kFloat).cpu().contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

struct EncodedSet {
  std::vector<float> images;       // rows; validate() normalises them
  std::vector<int> labels;         // of each image; −1: none
  std::vector<Captions> captions;  // of each image
};

EncodedSet encode_images(const Dataset& dataset, const Recipe& recipe, const Encoders& encoders) {
  EncodedSet encoded;
  const int size = recipe.preprocess.size;
  const std::size_t values = std::size_t{3} * static_cast<std::size_t>(size * size);
  for (std::size_t start = 0; start < dataset.size() && !interrupted(); start += batch_size) {
    const std::size_t count = std::min(batch_size, dataset.size() - start);
    auto pixels = at::zeros({static_cast<std::int64_t>(count), 3, size, size}, at::kFloat);
    std::vector<Sample> samples(count);
    std::vector<std::string> failures(count);
    at::parallel_for(0, static_cast<std::int64_t>(count), 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        const auto place = static_cast<std::size_t>(i);
        try {
          Image image;
          std::tie(samples[place], image) = read_sample(dataset, start + place);
          preprocess(std::move(image), recipe.preprocess, {pixels.data_ptr<float>() + place * values, values});
        } catch (const Error& error) {
          failures[place] = error.what();
        } catch (const std::exception& error) {  // such as no memory for the resized image
          failures[place] = fmt::format("{}: {}", samples[place].key, error.what());
        }
      }
    });
    const auto rows = to_rows(encoders.images(pixels));
    const auto dim = static_cast<std::ptrdiff_t>(rows.size() / count);
    for (std::size_t i = 0; i < count; ++i) {
      if (!failures[i].empty()) {
        print_error("gondola train: left out of the validation: {}", failures[i]);
        continue;
      }
      encoded.labels.push_back(samples[i].label);
      encoded.captions.push_back(std::move(samples[i].captions));
      const auto row = rows.begin() + static_cast<std::ptrdiff_t>(i) * dim;
      encoded.images.insert(encoded.images.end(), row, row + dim);
    }
  }
  return encoded;
}

std::vector<float> encode_texts(const std::vector<std::string>& texts, const ClipTokenizer& tokenizer,
                                const Recipe& recipe, const Encoders& encoders) {
  std::vector<float> rows;
  for (std::size_t start = 0; start < texts.size() && !interrupted(); start += batch_size) {
    const std::size_t end = std::min(texts.size(), start + batch_size);
    const std::vector<std::string> part(texts.begin() + static_cast<std::ptrdiff_t>(start),
                                        texts.begin() + static_cast<std::ptrdiff_t>(end));
    const auto encoded = to_rows(encoders.texts(tokenise(tokenizer, recipe.model.text, part)));
    rows.insert(rows.end(), encoded.begin(), encoded.end());
  }
  return rows;
}

/// Dot products of all queries with all items, both rows of `dim` values: queries × items.
std::vector<float> similarities_of(std::span<const float> queries, std::span<const float> items, std::size_t dim) {
  const auto matrix = [&](std::span<const float> rows) {
    return at::from_blob(const_cast<float*>(rows.data()),
                         {static_cast<std::int64_t>(rows.size() / dim), static_cast<std::int64_t>(dim)}, at::kFloat);
  };
  return to_rows(at::mm(matrix(queries), matrix(items).t()));
}

std::map<std::string, double> zero_shot(const EncodedSet& set, const std::vector<float>& prompts, std::size_t classes,
                                        std::size_t templates, std::size_t dim) {
  const auto head = zero_shot_head(prompts, templates, dim);
  const auto scores = similarities_of(set.images, head, dim);
  return {{"zero_shot_top1", 100 * top_k_accuracy(scores, set.labels, classes, 1)},
          {"zero_shot_top5", 100 * top_k_accuracy(scores, set.labels, classes, 5)}};
}

/// Adds recall at 1, 5 and 10, a few queries at a time, since the similarities of all would take queries × items.
void add_recalls(std::map<std::string, double>& figures, const char* name, std::span<const float> queries,
                 std::span<const float> items, std::span<const std::vector<int>> relevant, std::size_t dim) {
  const std::size_t all = items.size() / dim;
  for (std::size_t start = 0; start < relevant.size(); start += batch_size) {
    const std::size_t count = std::min(batch_size, relevant.size() - start);
    const auto scores = similarities_of(queries.subspan(start * dim, count * dim), items, dim);
    const double share = 100 * static_cast<double>(count) / static_cast<double>(relevant.size());
    for (const std::size_t k : {1, 5, 10})
      figures[fmt::format("{}_recall@{}", name, k)] +=
          share * recall_at_k(scores, relevant.subspan(start, count), all, k);
  }
}

std::map<std::string, double> retrieval(const EncodedSet& set, std::vector<float> texts, std::size_t dim) {
  normalise_rows(texts, dim);
  const std::size_t images = set.captions.size(), captions = texts.size() / dim;
  std::vector<std::vector<int>> texts_of(images), image_of(captions);
  int text = 0;
  for (std::size_t image = 0; image < images; ++image) {
    for (std::size_t i = 0; i < set.captions[image].size(); ++i, ++text) {
      texts_of[image].push_back(text);
      image_of[static_cast<std::size_t>(text)].push_back(static_cast<int>(image));
    }
  }
  std::map<std::string, double> figures;
  add_recalls(figures, "image_to_text", set.images, texts, texts_of, dim);
  add_recalls(figures, "text_to_image", texts, set.images, image_of, dim);
  return figures;
}

}  // namespace

std::optional<std::map<std::string, double>> validate(const Dataset& dataset, const ClipTokenizer& tokenizer,
                                                      const Recipe& recipe, const Encoders& encoders) {
  const auto dim = static_cast<std::size_t>(recipe.model.embed_dim);
  EncodedSet set = encode_images(dataset, recipe, encoders);
  if (interrupted()) return std::nullopt;
  if (set.labels.empty()) return std::map<std::string, double>();  // each failure was reported; the run goes on
  normalise_rows(set.images, dim);
  const std::size_t classes = dataset.class_names().size();
  std::vector<std::string> texts;
  for (const std::string& name : dataset.class_names())
    for (const std::string& text : recipe.validation_templates) texts.push_back(fill_template(text, name));
  if (classes == 0)
    for (const auto& captions : set.captions) texts.insert(texts.end(), captions.begin(), captions.end());
  const auto encoded = encode_texts(texts, tokenizer, recipe, encoders);
  if (interrupted()) return std::nullopt;
  if (classes == 0) return retrieval(set, encoded, dim);
  return zero_shot(set, encoded, classes, recipe.validation_templates.size(), dim);
}

}  // namespace gondola
