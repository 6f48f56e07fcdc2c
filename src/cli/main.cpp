#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/spelling.h"
#include "base/streams.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/help_formatter.h"
#include "cli/validators.h"

namespace {

/// CLI11 takes "[a, b]" for a list and drops its brackets; after this byte it is a word like any other.
constexpr char verbatim = '\x1f';

/// A flag that replaces "--": it ends a list of values, but the words after it still belong to the same command.
constexpr const char* end_of_options = "--end-of-options";

/// The words after the program's name, in reverse order, as CLI11 wants them. Those of train are left to gondola-train.
/// Without the byte `verbatim`, CLI11 would take the word after "--option=" for its value and, once it has a
/// positional, take what follows "--" for options.
std::vector<std::string> prepare_arguments(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool train = !words.empty() && words.front() == "train";
  const auto end = train ? words.end() : std::ranges::find(words, "--");
  for (auto word = end; word != words.end(); ++word) word->insert(0, 1, verbatim);
  if (end != words.end()) *end = end_of_options;
  for (std::string& word : words) {
    if (train || word.starts_with(verbatim)) break;
    const std::size_t start = word.starts_with("--") ? word.find('=') + 1 : 0;  // of an option's value
    const bool list = word.ends_with(']') && word[start] == '[', empty = start > 0 && start == word.size();
    if (list || empty) word.insert(start, 1, verbatim);
  }
  std::ranges::reverse(words);
  return words;
}

void take_words_verbatim(CLI::App& app) {
  for (CLI::Option* option : app.get_options())
    option->transform([](const std::string& word) { return word.starts_with(verbatim) ? word.substr(1) : word; });
  for (CLI::App* command : app.get_subcommands({})) take_words_verbatim(*command);
}

/// The options that the help shows.
std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty()) names.push_back(option->get_name());
  return names;
}

/// An unexpected word is the likeliest mistake: name it before what is missing because the word was not understood.
std::string explain_parse_error(const CLI::App& app, const CLI::ParseError& error) {
  if (app.got_subcommand("train")) return error.what();  // which reads its words itself
  for (std::string word : app.remaining(/*recurse=*/true)) {
    const bool literal = std::erase(word, verbatim) > 0;
    if (!literal && word.starts_with('-') && word != "-") {
      if (gondola::path_exists(word)) return "there is no option " + word + "; if you mean the file, write ./" + word;
      const std::string name = word.substr(0, word.find('='));
      std::vector<std::string> known = options_of(app);
      for (const CLI::App* command : app.get_subcommands()) {
        const std::vector<std::string> own = options_of(*command);
        if (std::ranges::find(own, name) != own.end())
          return name + " is an option of " + command->get_name() + "; write it after that word";
        std::ranges::copy(own, std::back_inserter(known));
      }
      return "there is no option " + word + gondola::spelling_suggestion(name, known);
    }
    if (app.get_subcommands().empty()) {
      std::vector<std::string> known;
      for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
      if (std::ranges::find(known, word) != known.end()) return "a command must stand before --";
      return "there is no command " + word + gondola::spelling_suggestion(word, known);
    }
  }
  return error.what();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gondola;
  using namespace gondola::cli;
  prepare_standard_streams();
  CLI::App app(
      "CLIP in C++: classify images by labels you make up, match and embed images and texts, train your own models",
      "gondola");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", GONDOLA_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // global options may stand after the command

  const auto not_empty = [](const std::string& what) {
    return CLI::Validator([what](const std::string& value) { return value.empty() ? "expected " + what : ""; }, "");
  };
  GlobalOptions global;
  CLI::Option* model =
      app.add_option("--model", global.model,
                     "folder, file or name of a cached model; default: the model that comes with gondola")
          ->check(not_empty("a model"))
          ->option_text("NAME|PATH");
  app.add_option("--config", global.config, "open_clip configuration, for a model file that comes without one")
      ->check(CLI::ExistingFile);
  app.add_option("--vocab", global.vocab, "vocabulary to use instead of the model's own")->check(CLI::ExistingPath);
  app.add_option("--threads", global.threads, "number of threads, at most one per available processor (the default)")
      ->check(within(1, std::numeric_limits<int>::max()))
      ->transform(no_more_than(available_processors()));
  app.add_option("--device", global.device, "where to run the model: cpu, cuda or cuda:N; default: cpu")
      ->check(CLI::Validator(
          [](const std::string& device) {
            const std::string digits = device.starts_with("cuda:") ? device.substr(5) : "0";
            const bool known = device == "cpu" || device == "cuda" || device.starts_with("cuda:");
            const bool numbered =
                !digits.empty() && digits.size() < 4 && digits.find_first_not_of("0123456789") == std::string::npos;
            return known && numbered ? std::string() : "expected cpu, cuda or cuda:N, found " + device;
          },
          "DEVICE"));
  app.add_option("--precision", global.precision,
                 "precision of the linear layers; auto (default) is bf16 on a GPU; on the CPU it is int8 for an int8 "
                 "model,\nelse bf16 if the processor supports it, else fp32")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "int8"}));
  app.add_flag("--json", global.json, "print one JSON object per line");
  app.add_flag(end_of_options)->group("");  // hidden

  int status = 0;
  add_classify(app, global, status);
  add_match(app, global, status);
  add_embed(app, global, status);
  add_tokenize(app, global, status);
  add_preprocess(app, global, status);
  add_info(app, global, status);
  add_convert(app, global, status);
  add_quantize(app, global, status);
  add_bench(app, global, status);
  add_vocab(app, global, status);
  add_train(app, global, status);
  for (const char* command : {"info", "convert", "quantize"})
    app.get_subcommand(command)
        ->add_option("MODEL", global.model, "folder, file or name of a cached model; same as --model")
        ->excludes(model)
        ->check(not_empty("a model"));
  app.footer(
      "Example: gondola classify cat.jpg --labels \"cat,dog,teapot\"\n"
      "gondola COMMAND -h shows a command's own options, which follow its name, and an example");
  for (CLI::App* command : app.get_subcommands({})) {
    command->group("Commands");
    if (CLI::Option* out = command->get_option_no_throw("--out")) out->type_name("DIR")->check(not_empty("a folder"));
    command->footer(command->get_footer() + "\nOptions common to all commands (--model, --json, …): gondola -h");
  }

  constexpr int wrong_usage = 2;
  try {
    take_words_verbatim(app);
    app.parse(prepare_arguments(argc, argv));
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail("the results cannot be written to stdout");
  } catch (const CLI::Success& help) {
    app.exit(help);
    std::cout.flush();
    if (std::cout) return 0;
    print_error("gondola: the help cannot be written to stdout");
    return 1;
  } catch (const CLI::ParseError& error) {
    std::string message = explain_parse_error(app, error);
    std::erase(message, verbatim);
    print_error("gondola: {}", message);
    print_error("gondola -h and gondola COMMAND -h show the usage");
    return wrong_usage;
  } catch (const std::exception& error) {
    print_error("gondola: {}", error.what());
    return 1;
  }
  return status;
}
