#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/interrupt.h"
#include "base/thread_pool.h"
#include "train/allocator.h"
#include "train/communicator.h"
#include "train/launch.h"
#include "train/recipe.h"
#include "train/trainer.h"

int main(int argc, char** argv) {
  using namespace gondola;
  CLI::App app("Trains a CLIP model from (image, text) pairs.", "gondola train");
  std::filesystem::path recipe, out;
  std::vector<std::string> overrides;
  bool resume = false;
  std::int64_t traced_steps = 0;
  app.add_option("RECIPE", recipe, "a TOML file; recipes/default.toml is an example")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", out, "folder of the run: checkpoints, metrics.jsonl, tensorboard, model")->required();
  app.add_option("--set", overrides, "section.key=value, in place of the recipe's")->allow_extra_args(false);
  app.add_flag("--resume", resume, "continue the run in --out, if there is one");
  app.add_option("--trace", traced_steps, "write the first so many steps into trace.json, for chrome://tracing")
      ->check(CLI::NonNegativeNumber);
  app.footer(
      "Several processes: torchrun --nproc-per-node 8 --no-python gondola train …, or srun, or mpirun.\n"
      "Example: gondola train recipes/default.toml --out runs/default --set train.steps=40");
  constexpr int wrong_usage = 2;
  try {
    app.parse(argc, argv);
    catch_interrupts();
    keep_freed_memory();
    Recipe read = read_recipe(recipe, overrides);
    const Launch launch = Launch::from([](const char* name) -> std::optional<std::string> {
      const char* value = std::getenv(name);
      return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    });
    if (read.device == "cuda") read.device = fmt::format("cuda:{}", launch.local_rank);
    if (read.threads == 0) read.threads = std::max(1, available_processors() / launch.local_size);
    Communicator communicator(launch, read.device, [](const std::string& message) {
      fmt::print(stderr, "gondola train: {}\n", message);
      std::_Exit(1);  // the other threads may wait for what will never come
    });
    try {
      return Trainer(std::move(read), out, resume, communicator, traced_steps).run() ? 0 : 1;
    } catch (const std::exception& error) {
      communicator.report_failure(error.what());
      throw;
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : wrong_usage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "gondola train: {}\n", error.what());
    return 1;
  }
}
