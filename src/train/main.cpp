#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/environment.h"
#include "base/interrupt.h"
#include "base/spelling.h"
#include "base/streams.h"
#include "torch_towers/device.h"
#include "torch_towers/message_of.h"
#include "train/allocator.h"
#include "train/communicator.h"
#include "train/gradient_sync.h"
#include "train/launch.h"
#include "train/loader.h"
#include "train/objective.h"
#include "train/recipe.h"
#include "train/simulation.h"
#include "train/trainer.h"

namespace {

using namespace gondola;

/// What `--simulate` asks about.
struct Plan {
  std::vector<int> ranks;
  double pairs_per_second = 0;
  Link link{1e9, 1e-5};
};

void print_plan(Recipe recipe, const Plan& plan) {
  if (recipe.vocab_size > 0) recipe.model.text.vocab_size = recipe.vocab_size;
  recipe.device = "cpu";  // only the model's sizes are needed, whatever the run's device
  Communicator alone;
  const Objective objective(recipe, alone);
  const StepShape step{recipe.batch_size,
                       recipe.model.embed_dim,
                       GradientSync(objective.parameters(), alone).bucket_sizes(),
                       static_cast<int>(objective.parameters().size()),
                       recipe.micro_batch_size,
                       recipe.activation_checkpointing,
                       recipe.shards_optimizer()};
  fmt::print("ranks    step s  compute     ring   reduce  exposed  weights  MB sent/rank    pairs/s  efficiency\n");
  for (const int ranks : plan.ranks) {
    Loader::check_ranks(recipe, ranks);
    const SimulatedStep one = simulate_step(step, ranks, plan.pairs_per_second, plan.link);
    const double rate = recipe.batch_size / one.seconds();
    fmt::print("{:5} {:9.3f} {:8.3f} {:8.3f} {:8.3f} {:8.3f} {:8.3f} {:13.1f} {:10.1f} {:9.0f} %\n", ranks,
               one.seconds(), one.compute, one.ring, one.reduce, one.exposed, one.weights, one.bytes_sent / 1e6, rate,
               100 * rate / (ranks * plan.pairs_per_second));
  }
}

}  // namespace

int main(int argc, char** argv) {
  prepare_standard_streams();
  CLI::App app("Train a CLIP model on (image, text) pairs", "gondola train");
  app.set_version_flag("--version", GONDOLA_VERSION);
  std::string recipe_name;
  std::filesystem::path out;
  std::vector<std::string> overrides;
  bool resume = false;
  std::int64_t traced_steps = 0;
  app.add_option("RECIPE", recipe_name,
                 "TOML file, or the name of a recipe that comes with gondola: openai-b32, siglip-b16, …")
      ->required()
      ->option_text(" ");
  CLI::Option* out_option =
      app.add_option(
             "--out", out,
             "folder for the run's checkpoints, metrics.jsonl, tensorboard, report.html and model; needed unless "
             "--simulate is given")
          ->option_text("DIR");
  app.add_option("--set", overrides, "section.key=value, to use instead of the recipe's; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  app.add_flag("--resume", resume, "continue the run in --out, if there is one");
  app.add_option("--trace", traced_steps, "record this many steps, from the start, in trace.json for chrome://tracing")
      ->option_text("STEPS")
      ->check(CLI::Range(0, 1'000'000));
  Plan plan;
  CLI::Option* simulate =
      app.add_option("--simulate", plan.ranks,
                     "estimate the time of a step on each of these numbers of ranks, such as 1,8,128; trains nothing")
          ->option_text("N,N,...")
          ->delimiter(',')
          ->allow_extra_args(false)
          ->check(CLI::Range(1, 1'000'000))
          ->excludes(out_option);
  CLI::Option* rate = app.add_option("--pairs-per-second", plan.pairs_per_second,
                                     "pairs per second of one rank alone without micro-batches, needed by --simulate")
                          ->option_text("N")
                          ->needs(simulate)
                          ->check(CLI::Range(1e-3, 1e9));
  simulate->needs(rate);
  app.add_option("--bandwidth", plan.link.bytes_per_second,
                 "for --simulate: bytes per second between two ranks, in each direction (default: 1e9)")
      ->option_text("N")
      ->needs(simulate)
      ->check(CLI::Range(1., 1e15));
  app.add_option("--latency", plan.link.latency_seconds,
                 "for --simulate: seconds of latency between two ranks (default: 1e-5)")
      ->option_text("N")
      ->needs(simulate)
      ->check(CLI::Range(0., 1e3));
  app.footer(
      "To train in several processes: torchrun --nproc-per-node 8 --no-python gondola train …, or srun, or mpirun\n"
      "Example: gondola train openai-b32 --out runs/b32 --set model.vocab_size=8192 --set "
      "'data.train=[\"pairs/{00000..00999}.tar\"]'");
  constexpr int wrong_usage = 2;
  try {
    app.parse(argc, argv);
    if (!plan.ranks.empty()) {
      print_plan(read_recipe(find_recipe(recipe_name), overrides), plan);
      return 0;
    }
    if (out.empty()) throw CLI::RequiredError("--out");
    keep_freed_memory();
    Recipe recipe = read_recipe(find_recipe(recipe_name), overrides);
    const Launch launch = Launch::from([](const char* name) -> std::optional<std::string> {
      const char* value = std::getenv(name);  // unlike environment(), keeps an empty one: a launcher's mistake
      return value == nullptr ? std::nullopt : std::optional<std::string>(value);
    });
    if (recipe.device == "cuda") {
      const int gpus = std::max(1, static_cast<int>(torch::cuda::device_count()));
      // Some launchers show each process only its own GPU; others do not number a machine's processes.
      const bool one_is_shown = gpus == 1 && environment("CUDA_VISIBLE_DEVICES");
      recipe.device = fmt::format("cuda:{}", one_is_shown ? 0 : launch.local_rank.value_or(launch.rank % gpus));
    }
    const c10::DeviceGuard guard(find_device(recipe.device));  // or NCCL would also use memory on the first GPU
    std::signal(SIGPIPE, SIG_IGN);  // writing to a dead rank must not kill this one before it can name the dead one
    Communicator communicator(launch, recipe.device, [](const std::string& message) {
      print_error("gondola train: {}", message);
      std::_Exit(1);  // the other threads may wait forever
    });
    try {
      const int processors = communicator.own_processors();
      if (recipe.threads == 0) recipe.threads = processors;
      auto opening = communicator.waiting_for_io();  // data sets and models
      Trainer trainer(std::move(recipe), out, resume, communicator, traced_steps);
      opening.reset();
      catch_interrupts();  // an earlier interrupt loses nothing
      return trainer.run() ? 0 : 1;
    } catch (const std::exception& error) {
      communicator.report_failure(message_of(error));
      throw;
    }
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::string message = error.what();
    const std::vector<std::string> rest = app.remaining();
    const auto option =
        std::ranges::find_if(rest, [](const auto& word) { return word.starts_with("--") && word != "--"; });
    if (option != rest.end()) {
      std::vector<std::string> known;
      for (const CLI::Option* one : app.get_options()) known.push_back(one->get_name());
      message = "there is no option " + *option + spelling_suggestion(option->substr(0, option->find('=')), known);
    }
    print_error("gondola train: {}", message);
    print_error("gondola train -h shows the usage");
    return wrong_usage;
  } catch (const std::exception& error) {
    print_error("gondola train: {}", message_of(error));
    return 1;
  }
}
