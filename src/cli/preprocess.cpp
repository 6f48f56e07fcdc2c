#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/npy.h"
#include "base/streams.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/image_results.h"
#include "cli/inputs.h"
#include "cli/model.h"
#include "image/preprocess.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

struct PreprocessOptions {
  std::vector<std::string> images;
  fs::path out;
  bool exif = false;
};

struct Outcome {
  fs::path tensor;
  std::string error;  ///< empty when the tensor was written
};

/// Where each image's tensor goes: OUT/NAME.npy, or nowhere for a folder, which fails to be read. Throws Error when two
/// images share a NAME.
std::vector<fs::path> tensor_paths(const std::vector<std::string>& images, const fs::path& out) {
  std::map<std::string, std::string> image_of_name;
  std::vector<fs::path> paths;
  for (const std::string& image : images) {
    std::error_code unknown;
    if (fs::is_directory(image, unknown)) {
      paths.emplace_back();
      continue;
    }
    const std::string name = fs::path(image).stem().string();
    const auto [other, is_new] = image_of_name.emplace(name, image);
    if (!is_new) fail("{} and {} would both be written to {}.npy", other->second, image, (out / name).string());
    paths.push_back(out / (name + ".npy"));
  }
  return paths;
}

Outcome preprocess_file(const std::string& image, const fs::path& tensor, const PreprocessConfig& config, bool exif) {
  try {
    const std::size_t size = static_cast<std::size_t>(config.size);
    std::vector<float> pixels(3 * size * size);
    preprocess(read_image(image, {.apply_exif_orientation = exif}), config, pixels);
    write_npy(tensor, std::array{std::size_t{3}, size, size}, pixels);
    return {tensor, {}};
  } catch (const std::exception& error) {
    return {{}, error.what()};
  }
}

void print(const GlobalOptions& global, const std::string& image, const Outcome& outcome) {
  if (!outcome.error.empty()) {
    report_failure(global, image, outcome.error);
  } else if (global.json) {
    print_json_line({{"image", image}, {"tensor", outcome.tensor.string()}});
  } else {
    print_line("{}: {}", image, outcome.tensor.string());
  }
}

int run(const GlobalOptions& global, const PreprocessOptions& options) {
  catch_interrupts();
  const std::vector<std::string> images = expand_images(options.images);
  const std::vector<fs::path> tensors = tensor_paths(images, options.out);
  const PreprocessConfig config = load_files(global).preprocess;
  make_folder(options.out);

  ThreadPool pool(global.threads);
  constexpr std::size_t batch_size = 64;  // results appear, in order, after each batch
  int status = 0;
  for (std::size_t start = 0; start < images.size(); start += batch_size) {
    stop_if_interrupted();
    std::vector<Outcome> outcomes(std::min(batch_size, images.size() - start));
    pool.parallel_for(outcomes.size(), [&](std::size_t i, int) {
      outcomes[i] = preprocess_file(images[start + i], tensors[start + i], config, options.exif);
    });
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      print(global, images[start + i], outcomes[i]);
      if (!outcomes[i].error.empty()) status = 1;
    }
  }
  return status;
}

}  // namespace

void add_preprocess(CLI::App& app, const GlobalOptions& global, int& status) {
  auto options = std::make_shared<PreprocessOptions>();
  CLI::App* command =
      app.add_subcommand("preprocess", "Write images as the image tower receives them: DIR/NAME.npy, fp32, 3 × H × W");
  command->add_option("IMAGE", options->images, image_argument_help)->required();
  command->add_option("--out", options->out, "folder to write the tensors to")->required();
  add_exif_flag(*command, options->exif);
  command->footer("Example: gondola preprocess cat.jpg --out tensors");
  command->callback([options, &global, &status] { status = run(global, *options); });
}

}  // namespace gondola::cli
