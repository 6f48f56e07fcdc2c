#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/streams.h"
#include "checkpoint/model_files.h"
#include "cli/command.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "text/clip_tokenizer.h"

namespace gondola::cli {
namespace {

struct TokenizeOptions {
  std::vector<std::string> texts;
  Overflow overflow = Overflow::error;
};

void print_json(const std::string& text, const ClipTokenizer::Encoded& encoded, const ClipTokenizer& tokenizer) {
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  for (std::int32_t id : encoded.ids) tokens.push_back(tokenizer.token(id));
  print_json_line({{"text", text}, {"ids", encoded.ids}, {"tokens", tokens}, {"truncated", encoded.truncated}});
}

void print_text(const ClipTokenizer::Encoded& encoded, const ClipTokenizer& tokenizer) {
  std::string line;
  for (std::int32_t id : encoded.ids) line += fmt::format("{}{}:{}", line.empty() ? "" : " ", id, tokenizer.token(id));
  print_line("{}{}", line, encoded.truncated ? " (truncated)" : "");
}

int run(const GlobalOptions& global, const TokenizeOptions& options) {
  const ModelFiles model = load_files(global);
  const ClipTokenizer tokenizer = load_tokenizer(model);
  int status = 0;
  for (const std::string& text : options.texts) {
    std::optional<ClipTokenizer::Encoded> encoded;
    std::string wrong;
    try {
      encoded = tokenizer.encode(text, model.config.text.context_length, options.overflow);
    } catch (const Error& error) {
      wrong = error.what();  // it does not fit the context, or has an added token
      status = 1;
    }
    if (encoded && global.json) {
      print_json(text, *encoded, tokenizer);
    } else if (encoded) {
      print_text(*encoded, tokenizer);
    } else if (global.json) {
      print_json_line({{"text", text}, {"error", wrong}});
    } else {
      print_error("gondola: {}", wrong);
    }
  }
  return status;
}

}  // namespace

void add_tokenize(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of texts, as the text tower receives them");
  command->add_option("TEXT", options->texts, "text, in quotes")->required()->check(utf8_error);
  add_truncate_flag(*command, options->overflow);
  command->footer("Example: gondola tokenize \"a photo of a dog\" --json");
  command->callback([options, &global, &status] { status = run(global, *options); });
}

}  // namespace gondola::cli
