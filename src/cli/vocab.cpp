#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "text/clip_tokenizer.h"
#include "text/train_bpe.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<fs::path> files;
  fs::path out;
  int size = 0;
};

/// The lines of several files, one after the other.
class Lines {
 public:
  explicit Lines(const std::vector<fs::path>& files) : files_(files) {}

  bool next(std::string_view& text) {
    while (!std::getline(input_, line_)) {
      if (input_.bad()) fail("{}: cannot be read", files_[opened_ - 1].string());
      if (opened_ == files_.size()) return false;
      input_.close();
      input_.clear();
      input_.open(files_[opened_]);
      if (!input_) fail("{}: cannot be opened", files_[opened_].string());
      ++opened_;
    }
    text = line_;
    return true;
  }

 private:
  const std::vector<fs::path>& files_;
  std::size_t opened_ = 0;
  std::ifstream input_;
  std::string line_;
};

void run(const Options& options) {
  Lines lines(options.files);
  const ClipTokenizer tokenizer =
      ClipTokenizer::from_merges(train_bpe([&](std::string_view& text) { return lines.next(text); }, options.size));
  fs::create_directories(options.out);
  tokenizer.save(options.out);
  fmt::print("{}: {} tokens\n", options.out.string(), tokenizer.size());
}

}  // namespace

void add_vocab(CLI::App& app, const GlobalOptions&, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("vocab", "Train a byte-level BPE vocabulary from texts, one a line");
  command->add_option("FILE", options->files, "text files, UTF-8")->required()->check(CLI::ExistingFile);
  command->add_option("--size", options->size, "tokens of the vocabulary, at least 514")->required();
  command->add_option("--out", options->out, "folder of vocab.json and merges.txt")->required();
  command->footer("Example: gondola vocab captions.txt --size 8192 --out vocabulary");
  command->callback([options, &status] {
    run(*options);
    status = 0;
  });
}

}  // namespace gondola::cli
