#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ranges>

#include "base/environment.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/streams.h"
#include "cli/command.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "cli/validators.h"
#include "metrics/metrics.h"
#include "pipeline/zero_shot_classifier.h"

namespace gondola::cli {
namespace {

struct ClassifyOptions {
  std::vector<std::string> images, labels, templates;
  std::string labels_file;
  std::size_t top_k = 5;
  double min_score = 0;
  Overflow overflow = Overflow::error;
  bool exif = false;
};

std::vector<std::string> labels_of(const ClassifyOptions& options) {
  if (!options.labels_file.empty()) return read_labels(options.labels_file);
  if (options.labels.empty()) throw CLI::RequiredError("--labels or --labels-file");
  std::vector<std::string> parts;
  for (const std::string& argument : options.labels)
    for (const auto part : std::views::split(argument, ',')) parts.emplace_back(part.begin(), part.end());
  std::vector<std::string> labels = distinct_labels(parts);
  if (labels.empty()) throw CLI::ValidationError("--labels", "expected at least one label");
  return labels;
}

struct ScoredLabel {
  std::string label;
  double score;
};

std::vector<ScoredLabel> best_labels(const ClassifyOptions& options, const ZeroShotClassifier& classifier,
                                     std::span<const float> embedding) {
  const std::vector<double> scores = classifier.scores(embedding);
  std::vector<ScoredLabel> best;
  for (std::size_t index : top_k(scores, options.top_k))
    if (scores[index] >= options.min_score) best.push_back({classifier.labels()[index], scores[index]});
  return best;
}

void print_json(const std::string& image, const std::vector<ScoredLabel>& best) {
  nlohmann::ordered_json labels = nlohmann::ordered_json::array();
  for (const ScoredLabel& one : best) labels.push_back({{"label", one.label}, {"score", one.score}});
  print_json_line({{"image", image}, {"labels", labels}});
}

void print_text(const std::string& image, const std::vector<ScoredLabel>& best) {
  std::vector<TableRow> rows;
  for (const ScoredLabel& one : best) rows.push_back({one.label, fmt::format("{:6.3f}", one.score)});
  print_table(image, rows);
  if (rows.empty()) print_line("  no label reaches --min-score");
}

ZeroShotClassifier make_classifier(LoadedModel& model, const std::vector<std::string>& labels,
                                   const ClassifyOptions& options) {
  constexpr std::size_t many_prompts = 1000;  // take seconds
  const std::size_t prompts = labels.size() * options.templates.size();
  Progress progress("prompts", prompts, "encoded");
  PromptOptions prompt_options;
  prompt_options.overflow = options.overflow;
  prompt_options.cache = cache_home() / "gondola" / "heads";
  if (prompts > many_prompts) prompt_options.progress = [&](std::size_t done) { progress.update(done); };
  return ZeroShotClassifier(model, labels, options.templates, prompt_options);
}

int run(const GlobalOptions& global, const ClassifyOptions& options) {
  const std::vector<std::string> labels = labels_of(options);
  const std::vector<std::string> images = expand_images(options.images);
  LoadedModel model(model_source(global));
  if (labels.size() == 1 && !model.config().sigmoid_loss)
    print_error("gondola: with this model a single label always scores 1; give it alternatives, or use match");
  const ZeroShotClassifier classifier = make_classifier(model, labels, options);
  return for_each_embedding(global, model, images, options.exif, true,
                            [&](std::size_t index, std::span<const float> embedding) {
                              const auto best = best_labels(options, classifier, embedding);
                              global.json ? print_json(images[index], best) : print_text(images[index], best);
                              return std::string();
                            });
}

}  // namespace

void add_classify(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<ClassifyOptions>();
  CLI::App* command = app.add_subcommand("classify", "Find the labels that fit each image best");
  command->footer("Example: gondola classify cat.jpg --labels \"cat,dog,teapot\" --template \"a photo of a {}.\"");
  command->add_option("IMAGE", options->images, image_argument_help)->required();
  CLI::Option* labels =
      command
          ->add_option("--labels", options->labels,
                       "comma-separated labels, needed unless --labels-file is given; may be repeated")
          ->option_text("A,B,...")
          ->allow_extra_args(false)
          ->check(utf8_error);
  command->add_option("--labels-file", options->labels_file, "file with one label per line, instead of --labels")
      ->excludes(labels)
      ->check(CLI::ExistingFile);
  const auto has_placeholder = [](const std::string& text) {
    return text.find("{}") == std::string::npos ? "expected {} where the label goes: " + text : std::string();
  };
  command
      ->add_option("--template", options->templates,
                   "text to put each label into, in place of {}; if repeated, the embeddings are averaged")
      ->default_str(default_template)
      ->allow_extra_args(false)
      ->check(has_placeholder)
      ->check(utf8_error);
  command->add_option("--top-k", options->top_k, "number of labels to show, best first")
      ->check(within(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--min-score", options->min_score, "leave out labels that score less")->check(within(0.0, 1.0));
  add_truncate_flag(*command, options->overflow);
  add_exif_flag(*command, options->exif);
  command->callback([options, &global, &status] {
    if (options->templates.empty()) options->templates = {default_template};
    status = run(global, *options);
  });
}

}  // namespace gondola::cli
