#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/interrupt.h"
#include "train/recipe.h"
#include "train/trainer.h"

int main(int argc, char** argv) {
  using namespace gondola;
  CLI::App app("Trains a CLIP model from (image, text) pairs.", "gondola train");
  std::filesystem::path recipe, out;
  std::vector<std::string> overrides;
  bool resume = false;
  app.add_option("RECIPE", recipe, "a TOML file; recipes/default.toml is an example")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", out, "folder of the run: checkpoints, metrics.jsonl, tensorboard, model")->required();
  app.add_option("--set", overrides, "section.key=value, in place of the recipe's")->allow_extra_args(false);
  app.add_flag("--resume", resume, "continue the run in --out, if there is one");
  app.footer("Example: gondola train recipes/default.toml --out runs/default --set train.steps=40");
  constexpr int wrong_usage = 2;
  try {
    app.parse(argc, argv);
    catch_interrupts();
    return Trainer(read_recipe(recipe, overrides), out, resume).run() ? 0 : 1;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : wrong_usage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "gondola train: {}\n", error.what());
    return 1;
  }
}
