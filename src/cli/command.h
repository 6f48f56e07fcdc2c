#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace gondola::cli {

/// The options that may stand before or after every command.
struct GlobalOptions {
  std::string model;  ///< empty: the default model
  std::optional<std::filesystem::path> config, vocab;
  int threads = 0;  ///< 0: all available
  std::string device = "cpu", precision = "auto";
  bool json = false;
};

/// Each command adds itself to the program: its options, its example, and a callback that runs it and stores the exit
/// status in `status` (0 success, 1 something failed). The references must outlive the parse.
void add_classify(CLI::App& app, const GlobalOptions& global, int& status);
void add_match(CLI::App& app, const GlobalOptions& global, int& status);
void add_embed(CLI::App& app, const GlobalOptions& global, int& status);
void add_tokenize(CLI::App& app, const GlobalOptions& global, int& status);
void add_preprocess(CLI::App& app, const GlobalOptions& global, int& status);
void add_info(CLI::App& app, const GlobalOptions& global, int& status);
void add_convert(CLI::App& app, const GlobalOptions& global, int& status);
void add_quantize(CLI::App& app, const GlobalOptions& global, int& status);
void add_bench(CLI::App& app, const GlobalOptions& global, int& status);
void add_vocab(CLI::App& app, const GlobalOptions& global, int& status);
void add_train(CLI::App& app, const GlobalOptions& global, int& status);

}  // namespace gondola::cli
