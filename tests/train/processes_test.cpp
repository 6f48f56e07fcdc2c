// gondola-train in several processes: the same run as in one, and resuming after a kill, also with other ranks.
#include <gmock/gmock.h>

#include <array>

#include "base/file.h"
#include "tests/train/process.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Processes : public testing::Test {
 protected:
  /// A recipe with batches of eight pairs, many of which share a text.
  fs::path recipe(const std::string& train = "", int steps = 30) {
    return test::write(
        folder_.path() / "recipe.toml",
        fmt::format("[model]\npreset = \"tiny-test\"\nvocab_size = 530\nbatch_norm_embeddings = true\n[data]\n"
                    "train = [\"{0}\"]\nvalidation = [\"{0}\"]\n[augment]\nmin_crop_area = 0.5\nflip_probability = "
                    "0.5\n[train]\n"
                    "batch_size = 8\nsteps = {2}\nlearning_rate = 1e-3\nwarmup_steps = 5\nsave_every_steps = 7\n"
                    "validate_every_steps = 10\nthreads = 1\npeak_tflops = 1\nsoft_targets = true\nseed = 9\n{1}",
                    test::write_pairs(folder_.path()).string(), train, steps));
  }

  fs::path run(const std::string& name, const fs::path& recipe, int ranks) {
    const fs::path path = folder_.path() / name;
    for (test::Process& process : test::launch(recipe, path, ranks)) EXPECT_EQ(process.wait(), 0) << log(path, 0);
    return path;
  }

  static std::string log(const fs::path& run, int rank) {
    return read_file(run.string() + "-rank-" + std::to_string(rank) + ".log");
  }

  static void expect_same_learning(const fs::path& found, const fs::path& expected) {
    const auto losses = test::losses(found), wanted = test::losses(expected);
    ASSERT_EQ(losses.size(), wanted.size());
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], wanted[i], 1e-4 * wanted[i]) << "step " << i;
  }

  test::TemporaryFolder folder_;
};

TEST_F(Processes, LearnTheSameAsOneProcess) {
  const fs::path alone = run("alone", recipe(), 1);
  expect_same_learning(run("two", recipe(), 2), alone);
  expect_same_learning(run("four", recipe("shard_optimizer = true\nmicro_batch_size = 1\n"), 4), alone);
}

/// Whichever rank is killed, the others end with a message that names it. The run then resumes from its checkpoint as
/// if nothing had happened; on another number of ranks, up to rounding.
TEST_F(Processes, GoOnAfterOneIsKilled) {
  const fs::path path = recipe("shard_optimizer = true\noptimizer = \"muon\"\n");
  const auto name_of = [](int victim) { return fmt::format("without-{}", victim); };
  const auto kill_one = [&](int victim) {
    const fs::path broken = folder_.path() / name_of(victim);
    const auto killed = static_cast<std::size_t>(victim);
    for (int tries = 1;; ++tries) {
      fs::remove_all(broken);
      auto ranks = test::launch(path, broken, 2);
      test::wait_for_metrics(broken, 12);
      ranks[killed].send(SIGKILL);
      const int status = ranks[killed].wait();
      if (status != -SIGKILL && tries < test::max_tries) continue;
      EXPECT_EQ(status, -SIGKILL);
      return std::move(ranks[1 - killed]);
    }
  };
  std::array<test::Process, 2> left = {kill_one(0), kill_one(1)};  // each notices in its own time
  const fs::path whole = run("whole", path, 2);
  for (const int victim : {0, 1}) {
    const std::string name = name_of(victim);
    const fs::path broken = folder_.path() / name;
    EXPECT_EQ(left[static_cast<std::size_t>(victim)].wait(), 1);
    EXPECT_THAT(log(broken, 1 - victim), HasSubstr(victim == 0 ? "rank 0 or the launcher" : "rank 1 of 2"));
    const fs::path elsewhere = folder_.path() / (name + "-elsewhere");
    fs::copy(broken, elsewhere, fs::copy_options::recursive);
    run(name, path, 2);
    EXPECT_EQ(test::losses(broken), test::losses(whole));
    EXPECT_EQ(read_file(broken / "model" / "model.safetensors"), read_file(whole / "model" / "model.safetensors"));
    if (victim == 0) continue;
    run(name + "-elsewhere", path, 4);
    expect_same_learning(elsewhere, whole);
  }
}

TEST_F(Processes, StopTogether) {
  const fs::path path = recipe("", /*steps=*/100'000), stopped = folder_.path() / "stopped";
  auto ranks = test::launch(path, stopped, 2);
  test::wait_for_metrics(stopped, 5);
  ranks[1].send(SIGINT);  // to one of them
  for (test::Process& rank : ranks) EXPECT_EQ(rank.wait(), 1);
  const auto done = test::losses(stopped).size();
  EXPECT_TRUE(fs::exists(stopped / "checkpoints" / fmt::format("step-{:08}.safetensors", done)));
}

}  // namespace
}  // namespace gondola
