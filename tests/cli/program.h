#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/support/files.h"

namespace gondola::test {

#ifdef GONDOLA_WITH_TRAIN
inline constexpr bool built_with_pytorch = true;
#else
inline constexpr bool built_with_pytorch = false;
#endif

struct Result {
  int status = -1;
  std::string out, error;
  /// stdout as JSON, one object per line.
  std::vector<Json> lines() const {
    std::vector<Json> parsed;
    for (std::size_t at = 0; at < out.size();) {
      const std::size_t end = std::min(out.find('\n', at), out.size());
      parsed.push_back(Json::parse(out.substr(at, end - at)));
      at = end + 1;
    }
    return parsed;
  }
};

/// Runs the program as a user would, in the folder of golden files and with a cache of its own.
class Program : public testing::Test {
 protected:
  /// `arguments` is a piece of shell, and so is `emulator`, which precedes the program.
  Result run(const std::string& arguments, const std::string& emulator = "") {
    const std::filesystem::path error = folder_.path() / "stderr";
    const std::string command = "cd '" + golden_.string() + "' && XDG_CACHE_HOME='" + cache_.string() + "' " +
                                emulator + " '" + std::string(GONDOLA_BINARY_DIR) + "/gondola' " + arguments + " 2> '" +
                                error.string() + "'";
    Result result;
    FILE* pipe = ::popen(command.c_str(), "r");
    std::array<char, 4096> buffer;
    for (std::size_t read; (read = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      result.out.append(buffer.data(), read);
    result.status = WEXITSTATUS(::pclose(pipe));
    result.error = read_file(error);
    return result;
  }

  /// transformers' embedding of an image or text ("images", "texts"); of length 1 unless `raw`.
  std::vector<double> embedding(const char* kind, const std::string& input, bool raw = false) const {
    auto values = expected_.at(kind).at(input).get<std::vector<double>>();
    double square = 0;
    for (const double value : values) square += value * value;
    for (double& value : values) value /= raw ? 1 : std::sqrt(square);
    return values;
  }

  static void expect_row(std::span<const float> found, const std::vector<double>& expected, double tolerance) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << i;
  }

  /// What `embed --dtype fp32` wrote of a kind ("img", "text") into the test's own folder NAME.
  std::vector<float> rows(const char* name, const std::string& kind) const {
    return read_npy<float>(folder_.path() / name / (kind + "_emb") / (kind + "_emb_0.npy")).values;
  }

  std::string out(const char* name) const { return "'" + (folder_.path() / name).string() + "'"; }

  const std::filesystem::path golden_ = golden("cli");
  const Json expected_ = Json::parse(read_file(golden_ / "expected.json"));
  TemporaryFolder folder_;
  const std::filesystem::path cache_ = folder_.path() / "cache";
};

}  // namespace gondola::test
