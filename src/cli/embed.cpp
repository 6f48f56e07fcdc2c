#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/streams.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/embedding_files.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "metrics/metrics.h"
#include "pipeline/embed.h"
#include "pipeline/fingerprint.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct EmbedOptions {
  std::vector<std::string> images;
  std::string text_file;
  fs::path out;
  std::string dtype = "fp16";
  Overflow overflow = Overflow::error;
  bool raw = false, exif = false, resume = false;
};

/// Everything that embeddings depend on except their inputs; `described` is the model described for such inputs.
Json made_by(const EmbedOptions& options, const LoadedModel& model, const std::string& described) {
  return {{"weights", fmt::format("{:016x}", model.weights_hash())},
          {"model", fmt::format("{:016x}", hash_of(described))},
          {"precision", name(model.precision())},
          {"dtype", options.dtype},
          {"raw", options.raw}};
}

/// Appends the embedding and returns an empty string, or returns what is wrong with it and does not append it.
std::string append(EmbeddingFiles& files, const EmbedOptions& options, std::size_t index,
                   std::span<const float> embedding) {
  std::vector<float> row(embedding.begin(), embedding.end());
  if (!options.raw) normalise_rows(row, row.size());
  const bool half = options.dtype == "fp16";
  if (half && std::ranges::any_of(row, [](float value) { return std::isinf(float_from_half(half_from_float(value))); }))
    return "its embedding has values beyond 65504, the largest in fp16; use --dtype fp32 and another folder";
  files.append(index, half ? NpyType::float16 : NpyType::float32, row);
  return {};
}

/// Calls embed(), which appends the remaining embeddings; if it fails, the ones that it has appended are kept.
template <typename Embed>
void embed_and_finish(EmbeddingFiles& files, std::size_t inputs, const Embed& embed) {
  try {
    embed();
  } catch (const std::exception& error) {
    files.save_partial();
    if (files.saved() == 0) throw;
    fail("{}; --resume continues after {} of {}", error.what(), files.saved(), inputs);
  }
  files.finish();
}

void report(const GlobalOptions& global, const EmbeddingFiles& files, std::size_t dim) {
  for (std::size_t i = 0; i < files.rows().size(); ++i) {
    const std::string path = files.file(i).string();
    if (global.json) {
      print_json_line({{"embeddings", path}, {"rows", files.rows()[i]}, {"embed_dim", dim}});
    } else {
      print_line("{}: {} × {}", path, files.rows()[i], dim);
    }
  }
}

int embed_image_files(const GlobalOptions& global, const EmbedOptions& options, LoadedModel& model,
                      std::span<const std::string> images, EmbeddingFiles& files) {
  const auto embed = [&](std::span<const std::string> some, const auto& index_of) {
    for_each_embedding(global, model, some, options.exif, false, [&](std::size_t i, std::span<const float> embedding) {
      return append(files, options, index_of(i), embedding);
    });
  };
  const std::vector<std::size_t> failed(files.failed().begin(), files.failed().end());
  std::vector<std::string> again;
  for (const std::size_t index : failed) again.push_back(images[index]);
  if (!again.empty())
    print_error("gondola: {} of the {} images already processed have no embedding; trying them again", again.size(),
                files.done());
  embed_and_finish(files, images.size(), [&] {
    embed(again, [&](std::size_t i) { return failed[i]; });
    const std::size_t done = files.done();
    embed(images.subspan(done), [&](std::size_t i) { return done + i; });
  });
  if (files.rows().empty())
    print_error("gondola: none of the images can be embedded");
  else if (!files.failed().empty())
    print_error("gondola: {} of {} images have no embedding; --resume tries them again", files.failed().size(),
                images.size());
  report(global, files, model.embed_dim());
  return files.failed().empty() ? 0 : 1;
}

/// Throws Error for a line that is longer than the model's context.
void check_text_lengths(const EmbedOptions& options, const TextStages& stages, std::span<const std::string> lines) {
  constexpr std::size_t lines_per_step = 8192;
  const int context_length = stages.encoder.config().text.context_length;
  Progress progress("texts", lines.size(), "checked");
  for (std::size_t first = 0; first < lines.size(); first += lines_per_step) {
    stages.pool.parallel_for(std::min(lines_per_step, lines.size() - first), [&](std::size_t i, int) {
      try {
        stages.tokenizer.encode(lines[first + i], context_length, Overflow::error);
      } catch (const Error& error) {
        fail("{}:{}: {}", options.text_file, first + i + 1, error.what());
      }
    });
    stop_if_interrupted();
    progress.update(std::min(first + lines_per_step, lines.size()));
  }
  progress.clear();
}

void embed_text_lines(const GlobalOptions& global, const EmbedOptions& options, const TextStages& stages,
                      std::span<const std::string> lines, EmbeddingFiles& files, std::size_t dim) {
  constexpr std::size_t texts_per_step = 512;
  Progress progress("texts", lines.size(), "done");
  embed_and_finish(files, lines.size(), [&] {
    for (std::size_t first = files.done(); first < lines.size(); first = files.done()) {
      const std::size_t count = std::min(texts_per_step, lines.size() - first);
      const std::vector<float> embeddings = embed_texts(stages, lines.subspan(first, count));
      for (std::size_t i = 0; i < count; ++i) {
        const std::string wrong = append(files, options, first + i, std::span(embeddings).subspan(i * dim, dim));
        if (!wrong.empty()) fail("{}:{}: {}", options.text_file, first + i + 1, wrong);
      }
      stop_if_interrupted();
      progress.update(files.done());
    }
    progress.clear();
  });
  report(global, files, dim);
}

int run(const GlobalOptions& global, const EmbedOptions& options) {
  catch_interrupts();
  LoadedModel model(model_source(global));
  std::vector<std::string> images, texts;
  std::optional<EmbeddingFiles> image_files, text_files;
  std::optional<TextStages> stages;
  if (!options.text_file.empty()) {  // finds mistakes in the texts now rather than after hours of images
    stages.emplace(model.text_stages(options.overflow));
    texts = read_text_lines(options.text_file);
    if (texts.empty()) fail("{}: has no text", options.text_file);
    if (options.overflow == Overflow::error) check_text_lengths(options, *stages, texts);
    text_files.emplace(options.out, "text", made_by(options, model, text_fingerprint(model)), texts, options.resume);
  }
  int status = 0;
  if (!options.images.empty()) {
    images = expand_images(options.images);
    const auto misread = std::ranges::count_if(images, [](const auto& path) { return !is_valid_utf8(path); });
    if (misread > 0)
      print_error("gondola: {} of {} paths are not UTF-8; the metadata has U+FFFD in place of their invalid bytes",
                  misread, images.size());
    Json images_made_by = made_by(options, model, image_fingerprint(model));
    images_made_by["exif"] = options.exif;
    image_files.emplace(options.out, "img", std::move(images_made_by), images, options.resume);
    status = embed_image_files(global, options, model, images, *image_files);
  }
  if (stages) embed_text_lines(global, options, *stages, texts, *text_files, model.embed_dim());
  return status;
}

}  // namespace

void add_embed(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<EmbedOptions>();
  CLI::App* command = app.add_subcommand("embed", "Write embeddings of images and texts to .npy files");
  command->footer(
      "Example: gondola embed photos/ --out embeddings\n"
      "writes embeddings/img_emb/img_emb_0.npy, and the path of each row to embeddings/metadata/metadata_0.parquet.\n"
      "After a million images or ten minutes it starts a new file, img_emb_1.npy. With the tenth file all are renamed\n"
      "to numbers of two digits, so that names sort in the order of the rows. An interrupted run continues with "
      "--resume.");
  command->add_option("IMAGE", options->images,
                      image_argument_help + std::string("; needed unless --text-file is given"));
  command->add_option("--text-file", options->text_file, "file with one text per line; blank lines count as texts")
      ->check(CLI::ExistingFile);
  command->add_option("--out", options->out, "folder to write to")->required();
  command->add_option("--dtype", options->dtype, "data type of the stored embeddings")
      ->check(CLI::IsMember({"fp16", "fp32"}))
      ->capture_default_str();
  command->add_flag("--raw", options->raw, "do not normalise embeddings to length 1");
  add_truncate_flag(*command, options->overflow);
  add_exif_flag(*command, options->exif);
  command->add_flag("--resume", options->resume,
                    "continue an earlier run with the same inputs and --out, and retry the images that failed");
  command->callback([options, &global, &status] {
    if (options->images.empty() && options->text_file.empty()) throw CLI::RequiredError("IMAGE or --text-file");
    status = run(global, *options);
  });
}

}  // namespace gondola::cli
