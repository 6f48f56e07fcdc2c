#include <fmt/format.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/streams.h"
#include "cli/bench.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "image/preprocess.h"
#include "pipeline/embed.h"

namespace gondola::cli {
namespace {

/// One file's way to the tower: the seconds that one thread took for each step, or what went wrong.
struct Passage {
  double read = 0, decode = 0, preprocess = 0;
  double megapixels = 0;
  std::string error;
};

Passage time_file(const std::string& file, const PreprocessConfig& config, std::span<float> pixels) {
  Passage passage;
  try {
    std::string bytes;
    Image image;
    passage.read = seconds_of([&] { bytes = read_file(file); });
    passage.decode = seconds_of([&] { image = decode_image(std::as_bytes(std::span(bytes)), file); });
    passage.megapixels = 1e-6 * image.width * image.height;
    passage.preprocess = seconds_of([&] { preprocess(std::move(image), config, pixels); });
  } catch (const std::exception& error) {
    passage.error = error.what();
  }
  return passage;
}

std::vector<Passage> time_files(const std::vector<std::string>& files, const PreprocessConfig& config,
                                ThreadPool& pool) {
  const auto size = static_cast<std::size_t>(config.size);
  std::vector<std::vector<float>> pixels(static_cast<std::size_t>(pool.threads()), std::vector<float>(3 * size * size));
  std::vector<Passage> passages(files.size());
  pool.parallel_for(files.size(), [&](std::size_t i, int thread) {
    passages[i] = time_file(files[i], config, pixels[static_cast<std::size_t>(thread)]);
  });
  return passages;
}

struct Stage {
  const char* name;
  double rate;        ///< images per second, all threads together
  double megapixels;  ///< per second; 0 where pixels do not matter
};

class FilesBench {
 public:
  FilesBench(const GlobalOptions& global, const BenchOptions& options)
      : global_(global),
        model_(load_files(global)),
        precision_(tower_precision(global, model_, "image")),
        pool_(global.threads),
        tower_(model_, "image", global.device, precision_, false, pool_),
        files_(expand_images(options.files)) {}

  int run() {
    leave_out_failures();
    if (files_.empty()) fail("none of the images can be read");
    const std::vector<Stage> parts = stages();
    double seconds = 0;  // for one image, if all threads did only this work
    for (const Stage& stage : parts) seconds += 1 / stage.rate;
    const double rate = files_rate();
    print_header();
    for (const Stage& stage : parts) print(stage);
    print({"files", rate, rate * megapixels_ / static_cast<double>(files_.size())},
          {{"of_tower", rate / parts.back().rate}, {"of_stages", rate * seconds}});
    return status_;
  }

 private:
  void leave_out_failures() {
    std::vector<std::string> readable;
    const std::vector<Passage> passages = time_files(files_, model_.preprocess, pool_);
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (passages[i].error.empty()) {
        readable.push_back(files_[i]);
      } else {
        report_failure(global_, files_[i], passages[i].error);
        status_ = 1;
      }
    }
    files_ = std::move(readable);
  }

  /// The rate of each stage, from its total time over all files, slow ones included.
  std::vector<Stage> stages() {
    Passage sum;
    for (const Passage& passage : time_files(files_, model_.preprocess, pool_)) {
      sum.read += passage.read;
      sum.decode += passage.decode;
      sum.preprocess += passage.preprocess;
      sum.megapixels += passage.megapixels;
    }
    megapixels_ = sum.megapixels;
    const auto stage = [&](const char* stage_name, double seconds) {
      const double per_second = pool_.threads() / seconds;
      return Stage{stage_name, static_cast<double>(files_.size()) * per_second, megapixels_ * per_second};
    };
    const std::size_t batch = static_cast<std::size_t>(pool_.threads()) * tower_.encoder().preferred_batch_size();
    return {stage("read", sum.read),
            stage("decode", sum.decode),
            stage("preprocess", sum.preprocess),
            {"tower", static_cast<double>(batch) / tower_.seconds(batch), 0}};
  }

  double files_rate() {
    constexpr double enough = 1.5;
    const double seconds = best_seconds(enough, [&] {
      embed_images(
          {tower_.encoder(), pool_, model_.preprocess}, files_.size(),
          [&](std::size_t i) { return read_image(files_[i]); }, [](const ImageEmbedding&) {});
    });
    return static_cast<double>(files_.size()) / seconds;
  }

  void print_header() const {
    if (global_.json) return;
    fmt::print("{} images of {:.2f} megapixels, {}, {}, {} threads\n{:<11} {:>10} {:>14}\n", files_.size(),
               megapixels_ / static_cast<double>(files_.size()), name(precision_), name(active_isa()), pool_.threads(),
               "stage", "images/s", "megapixels/s");
  }

  void print(const Stage& stage, const nlohmann::ordered_json& shares = nlohmann::ordered_json::object()) const {
    if (global_.json) {
      nlohmann::ordered_json line = {{"stage", stage.name},       {"precision", name(precision_)},
                                     {"isa", name(active_isa())}, {"threads", pool_.threads()},
                                     {"images", files_.size()},   {"images_per_second", stage.rate}};
      if (stage.megapixels > 0) line["megapixels_per_second"] = stage.megapixels;
      line.update(shares);
      print_json_line(line);
      return;
    }
    fmt::print("{:<11} {:>10.1f} {:>14}", stage.name, stage.rate,
               stage.megapixels > 0 ? fmt::format("{:.1f}", stage.megapixels) : "");
    if (!shares.empty())
      fmt::print("   {:.0f}% of the tower alone, {:.0f}% of what all stages allow",
                 100 * shares["of_tower"].get<double>(), 100 * shares["of_stages"].get<double>());
    fmt::print("\n");
  }

  const GlobalOptions& global_;
  ModelFiles model_;
  Precision precision_;
  ThreadPool pool_;
  TowerBench tower_;
  std::vector<std::string> files_;
  double megapixels_ = 0;  ///< of all files
  int status_ = 0;
};

}  // namespace

int bench_files(const GlobalOptions& global, const BenchOptions& options) {
  return FilesBench(global, options).run();
}

}  // namespace gondola::cli
