#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/json.h"
#include "base/streams.h"
#include "cli/command.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "metrics/metrics.h"
#include "pipeline/embed.h"

namespace gondola::cli {
namespace {

struct MatchOptions {
  std::vector<std::string> images, texts;
  Overflow overflow = Overflow::error;
  bool exif = false;
};

void print_json(const std::string& image, const MatchOptions& options, std::span<const float> cosines,
                std::span<const double> scores) {
  nlohmann::ordered_json texts = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < options.texts.size(); ++i)
    texts.push_back({{"text", options.texts[i]}, {"similarity", cosines[i]}, {"score", scores[i]}});
  print_json_line({{"image", image}, {"texts", texts}});
}

/// Omits the scores if they are empty.
void print_text(const std::string& image, const MatchOptions& options, std::span<const float> cosines,
                std::span<const double> scores) {
  std::vector<TableRow> rows;
  for (std::size_t i = 0; i < options.texts.size(); ++i)
    rows.push_back({options.texts[i], fmt::format("similarity {:6.3f}", cosines[i]) +
                                          (scores.empty() ? "" : fmt::format("  score {:6.3f}", scores[i]))});
  print_table(image, rows);
}

int run(const GlobalOptions& global, const MatchOptions& options) {
  const std::vector<std::string> images = expand_images(options.images);
  LoadedModel model(model_source(global));
  const std::size_t dim = model.embed_dim();
  std::vector<float> texts = embed_texts(model.text_stages(options.overflow), options.texts);
  normalise_rows(texts, dim);
  const bool show_scores = model.config().sigmoid_loss || options.texts.size() > 1;  // one text has all of a softmax
  return for_each_embedding(
      global, model, images, options.exif, true, [&](std::size_t index, std::span<const float> embedding) {
        std::vector<float> unit(embedding.begin(), embedding.end());
        normalise_rows(unit, dim);
        const std::vector<float> cosines = similarities(unit, texts, dim);
        const std::vector<double> scores = model.scores(cosines);
        if (global.json) {
          print_json(images[index], options, cosines, scores);
        } else {
          print_text(images[index], options, cosines, show_scores ? scores : std::vector<double>());
        }
        return std::string();
      });
}

}  // namespace

void add_match(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<MatchOptions>();
  CLI::App* command = app.add_subcommand(
      "match", "Show how well each text fits each image: its cosine similarity, and its score among the texts");
  command->footer("Example: gondola match beach.jpg --text \"a sunny beach\" --text \"a city at night\"");
  command->add_option("IMAGE", options->images, image_argument_help)->required();
  command->add_option("--text", options->texts, "text to match with the images; may be repeated")
      ->required()
      ->allow_extra_args(false)
      ->check(utf8_error);
  add_truncate_flag(*command, options->overflow);
  add_exif_flag(*command, options->exif);
  command->callback([options, &global, &status] { status = run(global, *options); });
}

}  // namespace gondola::cli
