#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "tests/support/files.h"
#include "train/communicator.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace gondola::test {

/// For runs in this process alone.
inline Communicator alone;

/// The lines of a run's metrics.jsonl.
inline std::vector<Json> metrics(const std::filesystem::path& run) {
  std::vector<Json> lines;
  for (const std::string& line : read_lines(run / "metrics.jsonl")) lines.push_back(Json::parse(line));
  return lines;
}

/// The losses of a run's steps.
inline std::vector<double> losses(const std::filesystem::path& run) {
  std::vector<double> values;
  for (const Json& line : metrics(run))
    if (line.contains("loss")) values.push_back(line.at("loss").get<double>());
  return values;
}

/// Eight pictures with captions of four classes, many per picture.
inline std::filesystem::path write_pairs(const std::filesystem::path& folder) {
  std::ofstream table(folder / "pairs.csv");
  table << "image,caption\n";
  for (int i = 0; i < 60; ++i)
    for (const char* caption : {"a photo of {}", "the {}", "{}"}) {
      std::string text = caption;
      text.replace(text.find("{}"), 2, std::string("cat dog tea sea ").substr(static_cast<std::size_t>(i % 4) * 4, 3));
      table << (golden("train") / "vit" / "images" / fmt::format("{}.png", i % 8)).string() << ',' << text << '\n';
    }
  return folder / "pairs.csv";
}

inline const char* const vit = "preset = \"tiny-test\"";
inline const char* const resnet = "preset = \"tiny-test-resnet\"";

/// Runs of a few steps.
class Runs : public testing::Test {
 protected:
  Recipe recipe(const char* model, const std::vector<std::string>& overrides) {
    const std::filesystem::path file =
        write(folder_.path() / "recipe.toml",
              fmt::format("[model]\nvocabulary = \"{}\"\n{}\n[data]\ntrain = [\"{}\"]\n[train]\nbatch_size = 8\n"
                          "learning_rate = 1e-3\nwarmup_steps = 2\nsoft_targets = true\nthreads = 1\npeak_tflops = 1\n",
                          golden("cli/model").string(), model, write_pairs(folder_.path()).string()));
    return read_recipe(file, overrides);
  }

  std::filesystem::path run(const std::string& name, const Recipe& recipe, bool resume = false) {
    const std::filesystem::path path = folder_.path() / name;
    EXPECT_TRUE(Trainer(recipe, path, resume, alone).run());
    return path;
  }

  static TensorMap weights(const std::filesystem::path& run) {
    return load_model_files((run / "model").string()).weights;
  }

  /// The run's checkpoint after `steps` steps.
  static TensorMap checkpoint(const std::filesystem::path& run, int steps) {
    return read_safetensors(run / "checkpoints" / fmt::format("step-{:08}.safetensors", steps));
  }

  TemporaryFolder folder_;
};

/// Whether they have the same values.
inline bool equal(const Tensor& a, const Tensor& b) {
  return to_floats(a) == to_floats(b);
}

}  // namespace gondola::test
