#include "pipeline/quantize.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/streams.h"
#include "cli/command.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "cli/model.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct QuantizeOptions {
  std::vector<std::string> images;
  std::string labels_file;
  fs::path out;
};

/// A single embedding is its own mean: without it, nothing is left to compare.
bool has_centred(const EmbeddingCosines& cosines) {
  return cosines.count > 1;
}

nlohmann::ordered_json to_json(const EmbeddingCosines& cosines) {
  nlohmann::ordered_json json = {{"count", cosines.count}, {"cosine_min", cosines.min}, {"cosine_mean", cosines.mean}};
  json["centred_cosine_min"] = has_centred(cosines) ? nlohmann::ordered_json(cosines.min_centred) : nullptr;
  json["centred_cosine_mean"] = has_centred(cosines) ? nlohmann::ordered_json(cosines.mean_centred) : nullptr;
  return json;
}

void print_cosines(const char* what, const EmbeddingCosines& cosines) {
  fmt::print("cosine with fp32, {} {}: worst {:.5f}, mean {:.5f}", cosines.count, what, cosines.min, cosines.mean);
  if (has_centred(cosines))
    fmt::print("; without the mean embedding worst {:.5f}, mean {:.5f}", cosines.min_centred, cosines.mean_centred);
  fmt::print("\n");
}

void print_json(const QuantizationReport& report) {
  for (const QuantizedLayer& layer : report.layers)
    print_json_line({{"layer", layer.weight},
                     {"precision", name(layer.precision)},
                     {"alpha", layer.alpha ? nlohmann::ordered_json(*layer.alpha) : nullptr},
                     {"cosine", layer.cosine}});
  for (const auto& [tower, cosines] : {std::pair("image", &report.images), {"text", &report.texts}}) {
    nlohmann::ordered_json line = {{"tower", tower}};
    line.update(to_json(*cosines));
    print_json_line(line);
  }
  print_json_line(
      {{"zero_shot_agreement", report.agreement}, {"images", report.images.count}, {"labels", report.labels}});
}

void print_text(const QuantizationReport& report) {
  std::size_t width = 0, kept = 0;
  for (const QuantizedLayer& layer : report.layers) width = std::max(width, layer.weight.size());
  fmt::print("{:<{}}  runs in  smoothing  cosine\n", "layer", width);
  for (const QuantizedLayer& layer : report.layers) {
    print_line("{:<{}}  {:<7}  {:<9}  {:.6f}", layer.weight, width, name(layer.precision),
               layer.alpha ? fmt::format("{:.1f}", *layer.alpha) : "none", layer.cosine);
    kept += layer.precision == Precision::int8 ? 0 : 1;
  }
  fmt::print("{} of {} layers in int8, {} in bf16\n", report.layers.size() - kept, report.layers.size(), kept);
  if (!std::ranges::any_of(report.layers, [](const auto& layer) { return layer.weight.starts_with("visual."); }))
    fmt::print("the image tower, a ModifiedResNet, is not quantised\n");
  print_cosines("images", report.images);
  print_cosines("texts", report.texts);
  fmt::print("the best of {} labels is the same as in fp32 for {:.1f} % of {} images\n", report.labels,
             100 * report.agreement, report.images.count);
}

int run(const GlobalOptions& global, const QuantizeOptions& options) {
  if (global.model.empty()) throw CLI::RequiredError("MODEL, before --calibrate,");
  require_new_folder(options.out);
  catch_interrupts();
  const ModelFiles model = load_files(global);
  std::unique_ptr<ClipTokenizer> tokenizer;
  if (model.vocabulary) tokenizer = std::make_unique<ClipTokenizer>(load_tokenizer(model));
  QuantizeInputs inputs;
  const std::vector<std::string> images = expand_images(options.images);
  inputs.images = images.size();
  inputs.load = [&](std::size_t index) { return read_image(images[index]); };
  inputs.tokenizer = tokenizer.get();
  if (!options.labels_file.empty()) inputs.labels = read_labels(options.labels_file);
  ThreadPool pool(global.threads);
  QuantizationReport report;
  const ModelFiles quantized = quantize(model, inputs, pool, report);
  write_model_folder(options.out, quantized, tokenizer.get(), std::nullopt);
  for (const auto& [image, error] : report.errors) report_failure(global, images[image], error);
  if (global.json) {
    print_json(report);
    print_json_line({{"model", options.out.string()}});
  } else {
    print_text(report);
    print_line("{}", options.out.string());
  }
  return report.errors.empty() ? 0 : 1;
}

}  // namespace

void add_quantize(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command = app.add_subcommand("quantize", "Quantise a model to int8, calibrated on images");
  command
      ->add_option("--calibrate", options->images,
                   "a few hundred photos like those to come, half to calibrate, half to measure the result: " +
                       std::string(image_argument_help))
      ->type_name("IMAGES")
      ->required();
  command->add_option("--out", options->out, "folder to write to, new or empty")->required();
  command
      ->add_option("--labels-file", options->labels_file,
                   "file with labels to measure the result with, one per line; default: words of the vocabulary")
      ->check(CLI::ExistingFile);
  command->footer("Example: gondola quantize openai/clip-vit-base-patch32 --calibrate photos/ --out clip-int8");
  command->callback([options, &global, &status] { status = run(global, *options); });
}

}  // namespace gondola::cli
