#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/environment.h"
#include "base/error.h"
#include "cli/command.h"

namespace gondola::cli {
namespace {

/// Replaces this process with gondola-train, which is in the same folder.
[[noreturn]] void run_trainer(const std::vector<std::string>& arguments) {
  const std::filesystem::path program = program_folder() / "gondola-train";
  if (!std::filesystem::exists(program))
    fail("{}: not built; it needs PyTorch: run scripts/setup --train && scripts/build gondola gondola-train",
         program.string());
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  fail("{}: cannot be run: {}", program.string(), std::strerror(errno));
}

/// Refuses options before the command, which would not be passed on.
void refuse_options_of(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options())
    if (option->count() > 0)
      throw CLI::ValidationError(option->get_name(),
                                 "is not an option of train; set train.threads, train.device, … in its recipe");
}

}  // namespace

void add_train(CLI::App& app, const GlobalOptions&, int&) {
  CLI::App* command =
      app.add_subcommand("train", "Train a model on (image, text) pairs: gondola train RECIPE.toml --out RUN");
  command->prefix_command();  // all arguments, even -h, are gondola-train's
  command->set_help_flag();
  command->fallthrough(false);
  command->callback([command, &app] {
    refuse_options_of(app);
    run_trainer(command->remaining());
  });
}

}  // namespace gondola::cli
