#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/cpu.h"
#include "base/json.h"
#include "base/random.h"
#include "checkpoint/model_files.h"
#include "cli/command.h"
#include "engine/cpu_encoder.h"
#include "kernels/kernels.h"

namespace gondola::cli {
namespace {

struct Options {
  std::string tower = "image";
  std::vector<std::size_t> batches = {1, 16, 64};
  bool full = false;
};

constexpr int usual_text_tokens = 20;  ///< a caption; --full takes the whole context

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The best of at least three runs and a second and a half, after one that warms up.
double best_seconds(const auto& body) {
  constexpr double enough = 1.5;
  body();
  double best = seconds_of(body), sum = best;
  for (int run = 1; run < 3 || sum < enough; ++run) {
    const double seconds = seconds_of(body);
    best = std::min(best, seconds);
    sum += seconds;
  }
  return best;
}

/// Operations a second of all threads, from registers alone.
double peak_rate(ThreadPool& pool, Precision precision) {
  PeakFunction* const peak = kernels_for(active_isa()).peak_of[static_cast<std::size_t>(precision)];
  constexpr std::size_t steps = 2'000'000;
  const auto threads = static_cast<std::size_t>(pool.threads());
  std::vector<double> operations(threads);
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const double seconds = seconds_of(
        [&] { pool.for_each(threads, [&](std::size_t i, int) { operations[i] = static_cast<double>(peak(steps)); }); });
    best = std::max(best, operations.front() * static_cast<double>(threads) / seconds);
  }
  return best;
}

class TowerBench {
 public:
  TowerBench(const ModelFiles& files, Precision precision, const Options& options, ThreadPool& pool)
      : config_(files.config),
        image_(options.tower == "image"),
        text_tokens_(options.full ? config_.text.context_length
                                  : std::min(usual_text_tokens, config_.text.context_length)),
        encoder_(make_cpu_encoder(config_, files.weights, {precision, options.full}, pool)) {
    const ForwardFlops flops = options.full ? count_forward_flops(config_) : count_needed_flops(config_, text_tokens_);
    operations_ = image_ ? flops.image : flops.text;
  }

  /// Of one item.
  double operations() const { return operations_; }

  double seconds(std::size_t batch) {
    const auto size = static_cast<std::size_t>(config_.image.image_size);
    const auto context = static_cast<std::size_t>(config_.text.context_length);
    std::vector<float> embeddings(batch * static_cast<std::size_t>(config_.embed_dim));
    if (image_) {
      Random random(1);
      std::vector<float> pixels(batch * 3 * size * size);
      for (float& value : pixels) value = static_cast<float>(random.uniform(-2, 2));
      return best_seconds([&] { encoder_->encode_images(pixels, embeddings); });
    }
    std::vector<std::int32_t> ids(batch * context, 1);
    for (std::size_t i = static_cast<std::size_t>(text_tokens_) - 1; i < ids.size(); i += context)
      ids[i] = config_.text.end_id;
    return best_seconds([&] { encoder_->encode_texts(ids, embeddings); });
  }

 private:
  ModelConfig config_;
  bool image_;
  int text_tokens_;
  std::unique_ptr<Encoder> encoder_;
  double operations_ = 0;
};

int run_bench(const GlobalOptions& global, const Options& options) {
  const ModelFiles files = load_model_files(model_name(global), global.config);
  const Precision wanted = parse_precision(global.precision).value_or(default_precision());
  const Precision precision = options.tower == "image" ? image_precision(files.config, wanted) : wanted;
  ThreadPool pool(global.threads > 0 ? global.threads : available_processors());
  TowerBench bench(files, precision, options, pool);
  constexpr double giga = 1e9;
  if (!global.json)
    fmt::print("{} tower, {}, {}, {} threads\n{:>6} {:>10} {:>10} {:>8}\n", options.tower, name(precision),
               name(active_isa()), pool.threads(), "batch", "items/s", "GFLOP/s", "of peak");
  for (std::size_t batch : options.batches) {
    const double before = peak_rate(pool, precision), seconds = bench.seconds(batch);
    const double rate = static_cast<double>(batch) / seconds, operations = rate * bench.operations();
    const double fraction = operations / std::max(before, peak_rate(pool, precision));
    if (global.json) {
      fmt::print("{}\n", to_json_line({{"tower", options.tower},
                                       {"precision", name(precision)},
                                       {"isa", name(active_isa())},
                                       {"threads", pool.threads()},
                                       {"batch", batch},
                                       {"items_per_second", rate},
                                       {"gflops", operations / giga},
                                       {"peak_fraction", fraction}}));
    } else {
      fmt::print("{:>6} {:>10.1f} {:>10.0f} {:>7.0f}%\n", batch, rate, operations / giga, 100 * fraction);
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, const GlobalOptions& global, int& status) {
  CLI::App* command = app.add_subcommand("bench", "Measure a model's towers beside the processor's peak");
  const auto options = std::make_shared<Options>();
  command->add_option("--tower", options->tower, "image or text")->check(CLI::IsMember({"image", "text"}));
  command->add_option("--batch", options->batches, "default: 1,16,64")->delimiter(',')->check(CLI::Range(1, 4096));
  command->add_flag("--full", options->full, "compute every token of the last layer and of a text");
  command->footer("Example: gondola bench --model openai/clip-vit-base-patch32 --precision bf16 --batch 1,16");
  command->callback([options, &global, &status] { status = run_bench(global, *options); });
}

}  // namespace gondola::cli
