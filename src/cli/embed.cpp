#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/npy.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "data/parquet_writer.h"
#include "metrics/zero_shot.h"
#include "pipeline/embed.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> images;
  std::string text_file;
  fs::path out;
  std::string dtype = "fp16";
  bool raw = false, truncate = false, exif = false;
};

/// Writes embeddings row by row to DIR/KIND_emb/KIND_emb_0.npy, the layout of clip-retrieval.
class EmbeddingFile {
 public:
  EmbeddingFile(const Options& options, const std::string& kind, std::size_t dim)
      : path_(options.out / (kind + "_emb") / (kind + "_emb_0.npy")),
        writer_(make_folder_of(path_), options.dtype == "fp16" ? NpyType::float16 : NpyType::float32, {dim}),
        dim_(dim),
        normalise_(!options.raw) {}

  /// Whole rows of embed_dim values.
  void append(std::span<const float> embeddings) {
    for (; !embeddings.empty(); embeddings = embeddings.subspan(dim_)) {
      std::vector<float> row(embeddings.begin(), embeddings.begin() + static_cast<std::ptrdiff_t>(dim_));
      if (normalise_) normalise_rows(row, dim_);
      writer_.append(row);
      ++rows_;
    }
  }

  void finish() { writer_.finish(); }

  void report(const GlobalOptions& global) const {
    if (global.json) {
      fmt::print("{}\n", to_json_line({{"embeddings", path_.string()}, {"rows", rows_}, {"embed_dim", dim_}}));
    } else {
      fmt::print("{}: {} × {}\n", path_.string(), rows_, dim_);
    }
  }

 private:
  static const fs::path& make_folder_of(const fs::path& path) {
    make_folder(path.parent_path());
    return path;
  }

  fs::path path_;
  NpyWriter writer_;
  std::size_t dim_, rows_ = 0;
  bool normalise_;
};

int embed_image_files(const GlobalOptions& global, const Options& options, LoadedModel& model) {
  const std::vector<std::string> images = expand_images(options.images);
  const fs::path metadata = options.out / "metadata" / "metadata_0.parquet";
  make_folder(metadata.parent_path());
  EmbeddingFile file(options, "img", model.embed_dim());
  std::vector<std::string> embedded;
  const int status = for_each_embedding(global, model, images, options.exif, false,
                                        [&](const std::string& image, std::span<const float> embedding) {
                                          stop_if_interrupted();
                                          file.append(embedding);
                                          embedded.push_back(image);
                                        });
  if (embedded.empty()) fail("none of the images can be embedded");
  write_parquet(metadata, "image_path", embedded);
  file.finish();
  file.report(global);
  return status;
}

/// The lines of --text-file; unless they are to be cut, each as long as the model's context at most.
std::vector<std::string> read_texts(const Options& options, const LoadedModel& model, const TextStages& stages) {
  std::vector<std::string> lines = read_text_lines(options.text_file);
  if (options.truncate) return lines;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    try {
      stages.tokenizer.encode(lines[i], model.config().text.context_length, stages.overflow);
    } catch (const Error& error) {
      fail("{}:{}: {}", options.text_file, i + 1, error.what());
    }
  }
  return lines;
}

void embed_text_lines(const GlobalOptions& global, const Options& options, LoadedModel& model, const TextStages& stages,
                      std::span<const std::string> lines) {
  constexpr std::size_t texts_per_step = 512;
  EmbeddingFile file(options, "text", model.embed_dim());
  Progress progress("texts", lines.size(), "done");
  for (std::size_t first = 0; first < lines.size(); first += texts_per_step) {
    stop_if_interrupted();
    const std::size_t count = std::min(texts_per_step, lines.size() - first);
    file.append(embed_texts(stages, lines.subspan(first, count)));
    progress.update(first + count);
  }
  progress.clear();
  file.finish();
  file.report(global);
}

int run(const GlobalOptions& global, const Options& options) {
  catch_interrupts();  // a stopped run leaves no half-written file
  LoadedModel model(model_source(global));
  std::optional<TextStages> stages;
  std::vector<std::string> texts;
  if (!options.text_file.empty()) {  // a text that is too long is found now rather than after hours of images
    stages.emplace(model.text_stages(options.truncate ? Overflow::truncate : Overflow::error));
    texts = read_texts(options, model, *stages);
  }
  const int status = options.images.empty() ? 0 : embed_image_files(global, options, model);
  if (stages) embed_text_lines(global, options, model, *stages, texts);
  return status;
}

}  // namespace

void add_embed(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("embed", "Write the embeddings of images and texts as .npy");
  command->footer(
      "Example: gondola embed photos/ --out embeddings\n"
      "writes embeddings/img_emb/img_emb_0.npy and, row by row, the paths: embeddings/metadata/metadata_0.parquet");
  auto* inputs = command->add_option_group("Inputs")->require_option(1, 2);
  inputs->add_option("INPUT", options->images, image_argument_help);
  inputs->add_option("--text-file", options->text_file, "file with one text a line, of which blank ones count")
      ->check(CLI::ExistingFile);
  command->add_option("--out", options->out, "folder to write to")->required();
  command->add_option("--dtype", options->dtype, "how the embeddings are stored")
      ->check(CLI::IsMember({"fp16", "fp32"}))
      ->capture_default_str();
  command->add_flag("--raw", options->raw, "do not normalise to length 1");
  command->add_flag("--truncate", options->truncate, "cut texts that are longer than the model's context");
  command->add_flag("--exif", options->exif, "turn images upright by their EXIF orientation");
  command->callback([options, &global, &status] { status = run(global, *options); });
}

}  // namespace gondola::cli
