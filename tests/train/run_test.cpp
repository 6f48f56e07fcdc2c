// Whole runs, compared with PyTorch's steps (tests/reference/train.py); interrupted ones, with uninterrupted ones.
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "tests/support/files.h"
#include "tests/train/process.h"
#include "tests/train/ranks.h"
#include "tests/train/runs.h"
#include "train/flops.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace gondola {
namespace {

using test::losses;
using test::metrics;
using test::write;
using test::write_pairs;
using testing::HasSubstr;
using testing::ThrowsMessage;
namespace fs = std::filesystem;

struct Architecture {
  const char* name;
  const char* model;  ///< of the recipe
  bool soft_targets;
};

void PrintTo(const Architecture& architecture, std::ostream* out) {
  *out << architecture.name;
}

std::string recipe_text(const Architecture& architecture, const std::string& train) {
  return fmt::format(
      "[model]\nvocabulary = \"{}\"\n{}\n[data]\ntrain = [\"{}\"]\n[augment]\nmin_crop_area = 1\nmax_aspect_ratio = 1\n"
      "[train]\nbatch_size = 8\nlearning_rate = 1e-2\nweight_decay = 0.2\nbeta2 = 0.98\nepsilon = 1e-2\n"
      "warmup_steps = 2\nsoft_targets = {}\nthreads = 1\npeak_tflops = 1\n{}",
      test::golden("cli/model").string(), architecture.model,
      (test::golden("train") / architecture.name / "pairs.csv").string(), architecture.soft_targets, train);
}

/// Writes the folder of a run that has done no step: with these weights and a fresh optimiser.
void start_from(const fs::path& run, const Recipe& recipe, const TensorMap& weights) {
  TensorMap state;
  for (const auto& [name, tensor] : weights) {
    state["model." + name] = tensor;
    const Tensor zeros = make_tensor(tensor.shape, std::vector<float>(static_cast<std::size_t>(tensor.elements())));
    state["exp_avg." + name] = state["exp_avg_sq." + name] = zeros;
  }
  write(run / "recipe.json", Json(recipe.values).dump());
  fs::create_directories(run / "checkpoints");
  write_safetensors(run / "checkpoints" / "step-00000000.safetensors", state);
}

class Steps : public testing::TestWithParam<Architecture> {};

TEST_P(Steps, MatchPyTorch) {
  const test::TemporaryFolder folder;
  const fs::path run = folder.path() / "run", golden = test::golden("train") / GetParam().name;
  const Recipe recipe = read_recipe(write(folder.path() / "recipe.toml", recipe_text(GetParam(), "steps = 3\n")), {});
  start_from(run, recipe, read_safetensors(golden / "start.safetensors"));
  ASSERT_TRUE(Trainer(recipe, run, /*resume=*/true, test::alone).run());

  const auto losses = Json::parse(read_file(golden / "losses.json")).at("losses").get<std::vector<double>>();
  const auto lines = metrics(run);
  ASSERT_EQ(lines.size(), losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    EXPECT_EQ(lines[i].at("step"), i + 1);
    EXPECT_NEAR(lines[i].at("loss").get<double>(), losses[i], 1e-5) << i;
    const double rate = lines[i].at("samples_per_second"), waited = lines[i].at("loader_wait");
    EXPECT_GT(rate, 0);
    EXPECT_TRUE(waited >= 0 && waited <= 1) << waited;
    // The peak is 1 TFLOP/s; captions have three to sixteen tokens.
    const double flops_of_a_pair = lines[i].at("mfu").get<double>() * 1e12 / rate;
    EXPECT_GT(flops_of_a_pair, training_flops(recipe, 8, 1, 3) / 8);
    EXPECT_LT(flops_of_a_pair, training_flops(recipe, 8, 8, 16) / 8);
  }
  const ModelFiles model = load_model_files((run / "model").string());
  for (const auto& [name, expected] : read_safetensors(golden / "end.safetensors")) {
    ASSERT_TRUE(model.weights.contains(name)) << name;
    const auto found = to_floats(model.weights.at(name)), wanted = to_floats(expected);
    ASSERT_EQ(found.size(), wanted.size());
    double square = 0, difference = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      square += static_cast<double>(wanted[i]) * wanted[i];
      difference += static_cast<double>(found[i] - wanted[i]) * (found[i] - wanted[i]);
    }
    EXPECT_LT(std::sqrt(difference), 1e-4 * (std::sqrt(square) + 0.01)) << name;
  }
}

const Architecture golden_vit = {"vit", "preset = \"tiny-test\"", false};
const Architecture golden_resnet = {
    "resnet",
    "embed_dim = 32\n[model.image]\narchitecture = \"modified_resnet\"\nimage_size = 64\n"
    "width = 4\nheads = 2\nstage_blocks = [1, 1, 1, 1]\n"
    "[model.text]\ncontext_length = 16\nwidth = 32\nheads = 2\nlayers = 2",
    true};

INSTANTIATE_TEST_SUITE_P(Architectures, Steps, testing::Values(golden_vit, golden_resnet),
                         [](const auto& architecture) { return std::string(architecture.param.name); });

/// The scale starts at 14.3.
TEST(Scale, StaysBelowItsLimit) {
  const test::TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  const fs::path recipe = write(folder.path() / "recipe.toml", recipe_text(golden_vit, "steps = 3\nmax_scale = 5\n"));
  ASSERT_TRUE(Trainer(read_recipe(recipe, {}), run, false, test::alone).run());
  for (const Json& line : metrics(run)) EXPECT_LE(line.at("scale").get<double>(), 5 + 1e-3);
  const ModelFiles model = load_model_files((run / "model").string());
  EXPECT_LE(to_floats(model.weights.at("logit_scale"))[0], std::log(5.0) + 1e-6);
}

TEST(SigmoidLoss, ExportsAModelWithItsBias) {
  const test::TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  const fs::path recipe =
      write(folder.path() / "recipe.toml", recipe_text(golden_vit, "steps = 3\nloss = \"sigmoid\"\n"));
  ASSERT_TRUE(Trainer(read_recipe(recipe, {}), run, false, test::alone).run());
  EXPECT_LT(losses(run).back(), losses(run).front());
  EXPECT_GT(metrics(run).at(2).at("bias"), -10);
  const ModelFiles model = load_model_files((run / "model").string());
  EXPECT_TRUE(model.config.sigmoid_loss);
  EXPECT_GT(to_floats(model.weights.at("logit_bias"))[0], -10);  // it rises: at first too few pairs count as positives
  // −ln ⅛ − 7 ln ⅞: of a probability of ⅛ for each of the batch's texts
  EXPECT_THAT(read_file(run / "report.html"), HasSubstr("<th>loss of chance</th><td>3.014</td>"));
}

TEST(Interruption, LosesAndRepeatsNothing) {
  const test::TemporaryFolder folder;
  // Two batches an epoch, so that the loader works on several epochs at once.
  const fs::path pairs = write_pairs(folder.path());
  const fs::path recipe = write(
      folder.path() / "recipe.toml",
      fmt::format(
          "[model]\npreset = \"tiny-test\"\nvocab_size = 530\nbatch_norm_embeddings = true\n[data]\ntrain = [\"{0}\"]\n"
          "validation = [\"{0}\"]\n[augment]\nmin_crop_area = 0.5\nflip_probability = 0.5\n[train]\nbatch_size = 4\n"
          "steps = 60\nlearning_rate = 1e-3\nwarmup_steps = 5\nsave_every_steps = 7\nvalidate_every_steps = 7\n"
          "threads = 2\npeak_tflops = 1\nsoft_targets = true\nseed = 9\nema_decay = 0.9\nspike_guard = 1.2\n",
          pairs.string()));
  const fs::path whole = folder.path() / "whole", interrupted = folder.path() / "interrupted";
  ASSERT_EQ(test::Process(recipe, whole).wait(), 0);
  const fs::path log = folder.path() / "log";
  const std::string words = "resuming after step ";
  int status = 0;
  for (int tries = 0; tries < test::max_tries && status != 1; ++tries) {
    fs::remove_all(interrupted);
    fs::remove(log);
    test::Process killed(recipe, interrupted);
    test::wait_for_metrics(interrupted, 17);
    killed.send(SIGKILL);
    if (killed.wait() != -SIGKILL) continue;
    test::Process stopped(recipe, interrupted, {}, log);
    test::wait_until(words, [&] { return fs::exists(log) && read_file(log).find(words) != std::string::npos; });
    test::wait_for_metrics(interrupted, 20);
    stopped.send(SIGINT);
    status = stopped.wait();
  }
  ASSERT_EQ(status, 1);  // clean: it saved what it had
  const std::string messages = read_file(log);
  EXPECT_GE(std::stoi(messages.substr(messages.find(words) + words.size())), 14)
      << "17 lines are 15 steps and two validations";
  for (int times = 0; times < 2; ++times) ASSERT_EQ(test::Process(recipe, interrupted).wait(), 0);
  const auto learnt = [](const fs::path& run) {
    std::vector<Json> lines = metrics(run);
    for (Json& line : lines)
      for (const char* of_time : {"samples_per_second", "loader_wait", "mfu"}) line.erase(of_time);
    return lines;
  };
  EXPECT_EQ(learnt(interrupted), learnt(whole));
  EXPECT_EQ(losses(whole).size(), 60u);
  EXPECT_TRUE(std::ranges::any_of(metrics(whole), [](const Json& line) { return line.value("skipped", 0) > 0; }));
  EXPECT_EQ(read_file(interrupted / "model" / "model.safetensors"), read_file(whole / "model" / "model.safetensors"));
  EXPECT_TRUE(metrics(whole).back().contains("image_to_text_recall@1"));
}

/// What has been learnt until then is not lost.
TEST(Interruption, ByUnreadableSamplesSavesACheckpoint) {
  const test::TemporaryFolder folder;
  std::string pairs = read_file(write_pairs(folder.path()));
  const std::size_t at = pairs.find("/3.png", pairs.size() / 2);
  pairs.replace(at, 6, "/missing.png");
  const fs::path recipe =
      write(folder.path() / "recipe.toml",
            fmt::format("[model]\npreset = \"tiny-test\"\nvocab_size = 530\n[data]\ntrain = [\"{}\"]\n"
                        "max_read_failures = 0\n[train]\nbatch_size = 4\nsteps = 60\nthreads = 1\n",
                        write(folder.path() / "broken.csv", pairs).string()));
  for (const int ranks : {1, 2}) {
    const fs::path run = folder.path() / fmt::format("of-{}", ranks);
    std::atomic<int> failed = 0;
    test::on_ranks(ranks, [&](Communicator& communicator) {
      Trainer trainer(read_recipe(recipe, {}), run, false, communicator);
      try {
        EXPECT_FALSE(trainer.run());
      } catch (const Error&) {
        ++failed;
      }
    });
    EXPECT_EQ(failed, 1) << "the rank whose sample it is; the other stops";
    const auto steps = losses(run).size();
    ASSERT_GT(steps, 0u);
    EXPECT_TRUE(fs::exists(run / "checkpoints" / fmt::format("step-{:08}.safetensors", steps)));
  }
}

class Samples : public testing::Test {
 protected:
  fs::path recipe(const std::string& validation = "[]") {
    return write(
        folder_.path() / "recipe.toml",
        fmt::format("[model]\npreset = \"tiny-test\"\nvocab_size = 530\n[data]\ntrain = [\"{}\"]\nvalidation = {}\n"
                    "[train]\nbatch_size = 4\nsteps = 2\nthreads = 1\n",
                    pairs_.string(), validation));
  }

  test::TemporaryFolder folder_;
  const fs::path pairs_ = write_pairs(folder_.path()), run_ = folder_.path() / "run";
};

TEST_F(Samples, MustBeTheSameWhenARunIsResumed) {
  ASSERT_TRUE(Trainer(read_recipe(recipe(), {}), run_, false, test::alone).run());
  std::ofstream(pairs_, std::ios::app) << (test::golden("images") / "none.png").string() << ",one more\n";
  EXPECT_THAT([&] { Trainer(read_recipe(recipe(), {"train.steps=3"}), run_, true, test::alone); },
              ThrowsMessage<Error>(HasSubstr("started with data.samples = 8 (")));
}

TEST_F(Samples, AreLeftOutOfTheValidationIfUnreadable) {
  write(folder_.path() / "broken.png", "no picture");
  const fs::path held_out = folder_.path() / "held-out.csv";
  fs::copy_file(pairs_, held_out);
  std::ofstream(held_out, std::ios::app) << (folder_.path() / "broken.png").string() << ",broken\n";
  const auto recipe_file = recipe(fmt::format("['{}', '{}']", pairs_.string(), held_out.string()));
  ASSERT_TRUE(Trainer(read_recipe(recipe_file, {}), run_, false, test::alone).run());
  const auto lines = metrics(run_);
  EXPECT_EQ(lines.at(lines.size() - 1).at("text_to_image_recall@1"),
            lines.at(lines.size() - 2).at("text_to_image_recall@1"));
  const fs::path nothing =
      write(folder_.path() / "nothing.csv", "image,caption\n" + (folder_.path() / "broken.png").string() + ",broken\n");
  const Recipe of_nothing = read_recipe(recipe(fmt::format("['{}']", nothing.string())), {});
  EXPECT_THAT([&] { Trainer(of_nothing, folder_.path() / "other", false, test::alone); },
              ThrowsMessage<Error>(HasSubstr("none of the 1 validation samples")));
}

class RecipeErrors : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  const fs::path recipe_ = write(folder_.path() / "recipe.toml", recipe_text(golden_vit, "steps = 1\n"));
};

TEST_F(RecipeErrors, InTheDataLeaveNoFolderBehind) {
  const fs::path run = folder_.path() / "run";
  const auto train = [&](const char* override) {
    return [&, override] { Trainer(read_recipe(recipe_, {override}), run, false, test::alone); };
  };
  EXPECT_THAT(train("train.batch_size=100000"), ThrowsMessage<Error>(HasSubstr("fewer than one batch of 100000")));
  EXPECT_THAT(train("data.train=[\"nowhere.csv\"]"), ThrowsMessage<Error>(HasSubstr("nowhere.csv")));
  EXPECT_THAT(train("data.validation=[\"nowhere.csv\"]"), ThrowsMessage<Error>(HasSubstr("nowhere.csv")));
  EXPECT_FALSE(fs::exists(run));
}

TEST_F(RecipeErrors, RequireEitherStepsOrEpochsAndAtLeastOneStep) {
  EXPECT_THAT([&] { read_recipe(recipe_, {"train.epochs=3"}); },
              ThrowsMessage<Error>(HasSubstr("both steps and epochs")));
  EXPECT_THAT([&] { read_recipe(recipe_, {"train.steps=0"}); }, ThrowsMessage<Error>(HasSubstr("either")));
  const Recipe short_of_one = read_recipe(recipe_, {"train.steps=0", "train.epochs=0.01"});
  EXPECT_THAT([&] { Trainer(short_of_one, folder_.path() / "run", false, test::alone); },
              ThrowsMessage<Error>(HasSubstr("less than a step")));
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

TEST_F(RecipeErrors, ARunWithoutStepsMayRestartWithOtherValues) {
  for (const bool resume : {false, true}) {
    const fs::path run = folder_.path() / (resume ? "resumed" : "again");
    EXPECT_THROW(Trainer(read_recipe(recipe_, {"model.pretrained=\"nowhere\""}), run, false, test::alone), Error);
    EXPECT_TRUE(Trainer(read_recipe(recipe_, {}), run, resume, test::alone).run());
  }
}

TEST_F(RecipeErrors, OneProcessAtATimeTrainsInAFolder) {
  const fs::path run = folder_.path() / "run";
  Trainer first(read_recipe(recipe_, {}), run, false, test::alone);
  EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {}), run, true, test::alone); },
              ThrowsMessage<Error>(HasSubstr("another process is training there")));
  EXPECT_TRUE(first.run());
}

/// "--out runs" for "--out runs/mine" must do no harm to what is there.
TEST_F(RecipeErrors, AFolderOfUnrelatedFilesIsNotResumed) {
  const fs::path runs = folder_.path() / "runs";
  fs::create_directories(runs / "checkpoints");
  for (const char* file : {"metrics.jsonl", "checkpoints/other.tmp", "log"}) write(runs / file, "mine");
  EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {}), runs, true, test::alone); },
              ThrowsMessage<Error>(HasSubstr("not the folder of a run")));
  EXPECT_EQ(read_file(runs / "metrics.jsonl"), "mine");
  EXPECT_FALSE(fs::exists(runs / ".lock"));
  fs::remove(runs / "metrics.jsonl");
  EXPECT_TRUE(Trainer(read_recipe(recipe_, {}), runs, true, test::alone).run());
  for (const char* file : {"checkpoints/other.tmp", "log"}) EXPECT_EQ(read_file(runs / file), "mine");
}

TEST_F(RecipeErrors, ARunResumesWithoutItsInitialModel) {
  const fs::path first = folder_.path() / "first", second = folder_.path() / "second";
  ASSERT_TRUE(Trainer(read_recipe(recipe_, {}), first, false, test::alone).run());
  const std::string initial = "model.pretrained=" + (first / "model").string();
  std::vector<std::string> overrides = {initial, "model.vocabulary=\"\""};  // the model's own
  ASSERT_TRUE(Trainer(read_recipe(recipe_, overrides), second, false, test::alone).run());
  fs::remove_all(first);
  overrides.push_back("train.steps=2");
  EXPECT_TRUE(Trainer(read_recipe(recipe_, overrides), second, true, test::alone).run());
}

TEST_F(RecipeErrors, ARunIsNotOverwrittenNorResumedWithOtherValues) {
  const fs::path run = folder_.path() / "run";
  ASSERT_TRUE(Trainer(read_recipe(recipe_, {}), run, false, test::alone).run());
  EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {}), run, false, test::alone); },
              ThrowsMessage<Error>(HasSubstr("--resume")));
  EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {"train.seed=8"}), run, true, test::alone); },
              ThrowsMessage<Error>(HasSubstr("train.seed")));
  const std::string pairs = read_file(test::golden("train") / "vit" / "pairs.csv");
  const fs::path moved = write(folder_.path() / "moved" / "pairs.csv", pairs),
                 other = write(folder_.path() / "moved" / "others.csv", pairs);
  fs::copy(test::golden("train") / "vit" / "images", folder_.path() / "moved" / "images");
  for (const std::string& value : {fmt::format("data.train=[\"{}\"]", other.string()),
                                   fmt::format("data.train=[{{source=\"{}\", weight=2}}]", moved.string())})
    EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {value}), run, true, test::alone); },
                ThrowsMessage<Error>(HasSubstr("started with data.train")))
        << value;
  // A limit that it does not learn from, the value it has anyway, and the same samples elsewhere.
  for (const std::string& value : {std::string("data.max_read_failures=2000"), std::string("train.seed=0"),
                                   fmt::format("data.train=[\"{}\"]", moved.string()),
                                   fmt::format("data.train=[{{source=\"{}\"}}]", moved.string())})
    EXPECT_NO_THROW(Trainer(read_recipe(recipe_, {value}), run, true, test::alone)) << value;
  write(run / "recipe.json", "[]");
  EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {}), run, true, test::alone); },
              ThrowsMessage<Error>(HasSubstr("recipe.json: is damaged, or was not written by a run")));
}

TEST_F(RecipeErrors, AFinishedRunWithoutItsCheckpointsIsKept) {
  const fs::path run = folder_.path() / "run";
  ASSERT_TRUE(Trainer(read_recipe(recipe_, {}), run, false, test::alone).run());
  fs::remove_all(run / "checkpoints");
  const std::string lines = read_file(run / "metrics.jsonl");
  for (const bool resume : {false, true})
    EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {}), run, resume, test::alone).run(); },
                ThrowsMessage<Error>(HasSubstr("a finished run without its checkpoints")));
  EXPECT_EQ(read_file(run / "metrics.jsonl"), lines);
}

/// Its values could not be compared.
TEST_F(RecipeErrors, ACheckpointWithoutItsRecipeIsNotResumed) {
  const fs::path run = folder_.path() / "run", copy = folder_.path() / "copy";
  ASSERT_TRUE(Trainer(read_recipe(recipe_, {}), run, false, test::alone).run());
  fs::create_directory(copy);
  fs::copy(run / "checkpoints", copy / "checkpoints");
  EXPECT_THAT([&] { Trainer(read_recipe(recipe_, {"train.seed=8"}), copy, true, test::alone); },
              ThrowsMessage<Error>(HasSubstr("has checkpoints without the recipe.json of their run")));
  EXPECT_FALSE(fs::exists(copy / "recipe.json"));
}

}  // namespace
}  // namespace gondola
