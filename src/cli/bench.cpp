#include "cli/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/cpu.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "base/streams.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "cli/validators.h"
#include "kernels/kernels.h"
#include "pipeline/device_encoder.h"

namespace gondola::cli {
namespace {

constexpr int typical_caption_tokens = 20;  ///< a caption; --full uses the whole context

/// Whether a text is always computed to the end of the context, however short it is.
bool reads_padding(const TextTowerConfig& text) {
  return !text.causal || text.pooling == TextPooling::last;
}

int bench_tower(const GlobalOptions& global, const BenchOptions& options) {
  const ModelFiles files = load_files(global);
  const Precision precision = tower_precision(global, files, options.tower);
  ThreadPool pool(global.threads);
  TowerBench bench(files, options.tower, global.device, precision, options.full, pool);
  const bool on_cpu = global.device == "cpu";  // whose peak is known
  constexpr double giga = 1e9;
  if (!global.json)
    fmt::print("{} tower, {}, {}, {}, {} threads\n{:>6} {:>10} {:>10} {:>8}\n", options.tower, name(precision),
               global.device, name(active_isa()), pool.threads(), "batch", "items/s", "GFLOP/s", "of peak");
  for (std::size_t batch : options.batches) {
    const auto measure = [&] { return bench.seconds(batch); };
    const Timing measured = on_cpu ? time_with_peak(pool, precision, measure) : Timing{measure(), 0};
    const double rate = static_cast<double>(batch) / measured.seconds, operations = rate * bench.operations();
    const double fraction = operations / measured.peak;
    if (global.json) {
      print_json_line({{"tower", options.tower},
                       {"precision", name(precision)},
                       {"device", global.device},
                       {"isa", name(active_isa())},
                       {"threads", pool.threads()},
                       {"batch", batch},
                       {"items_per_second", rate},
                       {"gflops", operations / giga},
                       {"peak_fraction", on_cpu ? nlohmann::ordered_json(fraction) : nullptr}});
    } else {
      fmt::print("{:>6} {:>10.1f} {:>10.0f} {:>8}\n", batch, rate, operations / giga,
                 on_cpu ? fmt::format("{:.0f}%", 100 * fraction) : "-");
    }
  }
  return 0;
}

int run(const GlobalOptions& global, const BenchOptions& options) {
  if (global.device != "cpu" && (options.kernels || !options.files.empty()))
    fail("--kernels and --files measure only the CPU, but --device is {}", global.device);
  if (options.kernels) return bench_kernels(global, options);
  return options.files.empty() ? bench_tower(global, options) : bench_files(global, options);
}

}  // namespace

double peak_rate(ThreadPool& pool, Precision precision) {
  PeakFunction* const peak = kernels_for(active_isa()).peak_of[static_cast<std::size_t>(precision)];
  constexpr std::size_t steps = 200'000;  // milliseconds, like a pass of a small tower; longer runs get interrupted
  constexpr double enough = 0.1;
  const auto threads = static_cast<std::size_t>(pool.threads());
  std::vector<double> operations(threads);
  const double seconds = best_seconds(enough, [&] {
    pool.parallel_for(threads, [&](std::size_t i, int) { operations[i] = static_cast<double>(peak(steps)); });
  });
  return operations.front() * static_cast<double>(threads) / seconds;
}

TowerBench::TowerBench(const ModelFiles& files, const std::string& tower, const std::string& device,
                       Precision precision, bool full, ThreadPool& pool)
    : config_(files.config),
      image_(tower == "image"),
      text_tokens_(full || reads_padding(config_.text) ? config_.text.context_length
                                                       : std::min(typical_caption_tokens, config_.text.context_length)),
      encoder_(make_encoder(device, config_, files.weights, {precision, full}, pool)) {
  const ForwardFlops flops = full ? count_forward_flops(config_) : count_needed_flops(config_, text_tokens_);
  operations_ = image_ ? flops.image : flops.text;
}

double TowerBench::seconds(std::size_t batch) {
  constexpr double enough = 1.5;
  const auto size = static_cast<std::size_t>(config_.image.image_size);
  const auto context = static_cast<std::size_t>(config_.text.context_length);
  std::vector<float> embeddings(batch * static_cast<std::size_t>(config_.embed_dim));
  if (image_) {
    Random random(1);
    std::vector<float> pixels(batch * 3 * size * size);
    for (float& value : pixels) value = static_cast<float>(random.uniform(-2, 2));
    return best_seconds(enough, [&] { encoder_->encode_images(pixels, embeddings); });
  }
  std::vector<std::int32_t> ids(batch * context, 1);
  for (std::size_t i = static_cast<std::size_t>(text_tokens_) - 1; i < ids.size(); i += context)
    ids[i] = config_.text.end_id;
  return best_seconds(enough, [&] { encoder_->encode_texts(ids, embeddings); });
}

void add_bench(CLI::App& app, const GlobalOptions& global, int& status) {
  CLI::App* command =
      app.add_subcommand("bench", "Measure the speed of a model's towers, and its share of the processor's peak");
  const auto options = std::make_shared<BenchOptions>();
  auto* tower = command->add_option("--tower", options->tower, "tower to measure; default: image")
                    ->check(CLI::IsMember({"image", "text"}));
  auto* batch = command->add_option("--batch", options->batches, "batch sizes to measure; default: 1,16,64")
                    ->delimiter(',')
                    ->option_text("N,N,...")
                    ->check(within(1, 4096));
  auto* full =
      command->add_flag("--full", options->full,
                        "compute all tokens of the last layer and of a text, even those that the result does not need");
  auto* kernels = command->add_flag("--kernels", options->kernels,
                                    "measure the operations of a tower one by one, as in a pass with --full");
  command
      ->add_option("--files", options->files,
                   image_argument_help + std::string("; measures all steps from files to embeddings"))
      ->type_name("IMAGES")
      ->excludes(tower, batch, full, kernels);
  kernels->excludes(batch, full);
  command->footer(
      "Example: gondola bench --model openai/clip-vit-base-patch32 --precision bf16 --batch 1,16\n"
      "         gondola bench --kernels --tower text\n"
      "         gondola bench --files photos/");
  command->callback([options, &global, &status] { status = run(global, *options); });
}

}  // namespace gondola::cli
