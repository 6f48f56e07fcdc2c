#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/streams.h"
#include "cli/command.h"
#include "cli/inputs.h"
#include "cli/validators.h"
#include "text/clip_tokenizer.h"
#include "text/train_bpe.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct VocabOptions {
  std::vector<fs::path> files;
  fs::path out;
  int size = 0;
};

void run(const GlobalOptions& global, const VocabOptions& options) {
  require_new_folder(options.out);
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges(train_bpe(
      [&](const auto& visit) {
        for (const fs::path& file : options.files) for_each_text_line(file, visit);
      },
      options.size));
  make_folder(options.out);
  tokenizer.save(options.out);
  if (global.json) {
    print_json_line({{"vocabulary", options.out.string()}, {"tokens", tokenizer.size()}});
  } else {
    print_line("{}: {} tokens", options.out.string(), tokenizer.size());
  }
  if (tokenizer.size() < options.size)
    print_error("gondola: the texts have no more pairs to merge, so the vocabulary is smaller than --size");
}

}  // namespace

void add_vocab(CLI::App& app, const GlobalOptions& global, int& /*status*/) {
  auto options = std::make_shared<VocabOptions>();
  CLI::App* command = app.add_subcommand("vocab", "Train a byte-level BPE vocabulary on text files");
  command->add_option("FILE", options->files, "text files in UTF-8, one text per line")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--size", options->size, "number of tokens, at least 514")
      ->required()
      ->check(within(min_vocab_size, 10'000'000));
  command->add_option("--out", options->out, "folder to write vocab.json and merges.txt to, new or empty")->required();
  command->footer("Example: gondola vocab captions.txt --size 8192 --out vocabulary");
  command->callback([options, &global] { run(global, *options); });
}

}  // namespace gondola::cli
