// gondola-train as a user runs it, without training.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <sstream>

#include "tests/support/files.h"

namespace gondola {
namespace {

class Simulate : public testing::Test {
 protected:
  /// The program's output for two ranks that do 32 pairs per second each. The recipe has a tiny model on a GPU, and
  /// data that do not exist. `options` is a piece of shell.
  std::string simulate(const std::string& options) {
    FILE* pipe = ::popen(fmt::format("'{}/gondola-train' '{}' --simulate 2 --pairs-per-second 32 --latency 0 {} 2>&1",
                                     GONDOLA_BINARY_DIR, recipe_.string(), options)
                             .c_str(),
                         "r");
    std::string text;
    std::array<char, 4096> buffer;
    for (std::size_t read; (read = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      text.append(buffer.data(), read);
    status_ = WEXITSTATUS(::pclose(pipe));
    return text;
  }

  /// The numbers of the table's only line.
  struct Line {
    double ranks, step, compute, ring, reduce, exposed, weights, sent, rate, efficiency;
  };
  Line line(const std::string& options) {
    const std::string text = simulate(options);
    EXPECT_EQ(status_, 0) << text;
    std::istringstream numbers(text.substr(text.find('\n')));
    Line found{};
    numbers >> found.ranks >> found.step >> found.compute >> found.ring >> found.reduce >> found.exposed >>
        found.weights >> found.sent >> found.rate >> found.efficiency;
    EXPECT_FALSE(numbers.fail()) << text;
    return found;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path recipe_ =
      test::write(folder_.path() / "recipe.toml",
                  "[model]\nembed_dim = 32\n[model.image]\nimage_size = 32\npatch_size = 8\nwidth = 32\nheads = 2\n"
                  "layers = 2\n[model.text]\nwidth = 32\nheads = 2\nlayers = 2\n[data]\ntrain = [\"nowhere.csv\"]\n"
                  "[train]\nbatch_size = 64\nsteps = 1\ndevice = \"cuda\"\n");
  int status_ = -1;
};

TEST_F(Simulate, SaysHowLongAStepOfTheRecipeTakes) {
  const Line fast = line("--bandwidth 1e15");
  EXPECT_EQ(fast.ranks, 2);
  EXPECT_EQ(fast.step, 1);
  EXPECT_EQ(fast.compute, 1);
  EXPECT_EQ(fast.rate, 64);
  EXPECT_EQ(fast.efficiency, 100);
  const Line slow = line("--bandwidth 1e8"), parts = line("--bandwidth 1e8 --set train.micro_batch_size=4"),
             late = line("--bandwidth 1e8 --set train.activation_checkpointing=true --set train.shard_optimizer=true");
  EXPECT_GT(slow.exposed, 0);
  EXPECT_GT(parts.exposed, slow.exposed);
  EXPECT_EQ(late.exposed, slow.reduce);
  EXPECT_EQ(slow.weights, 0);
  EXPECT_NEAR(late.weights, slow.reduce, 1e-3) << "two ranks send as much for either";
}

TEST_F(Simulate, RefusesRanksThatCannotShareTheBatch) {
  EXPECT_THAT(simulate("--set train.batch_size=63"), testing::HasSubstr("63"));
  EXPECT_EQ(status_, 1);
}

TEST_F(Simulate, SaysWhereToLookAfterAWrongOption) {
  EXPECT_THAT(simulate("--nope"), testing::EndsWith("\ngondola train -h shows the usage\n"));
  EXPECT_EQ(status_, 2);
}

TEST_F(Simulate, RefusesAnImpossibleModel) {
  EXPECT_THAT(simulate("--set model.image.heads=5"), testing::HasSubstr("does not divide into 5 heads"));
  EXPECT_EQ(status_, 1);
}

}  // namespace
}  // namespace gondola
