#pragma once

#include <fmt/format.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/support/files.h"
#include "train/communicator.h"

namespace gondola::test {

/// Of runs by this process alone.
inline Communicator alone;

/// The lines of a run's metrics.jsonl.
inline std::vector<Json> metrics(const std::filesystem::path& run) {
  std::vector<Json> lines;
  for (const std::string& line : read_lines(run / "metrics.jsonl")) lines.push_back(Json::parse(line));
  return lines;
}

/// The losses of its steps.
inline std::vector<double> losses(const std::filesystem::path& run) {
  std::vector<double> values;
  for (const Json& line : metrics(run))
    if (line.contains("loss")) values.push_back(line.at("loss").get<double>());
  return values;
}

/// Eight pictures with captions of four classes, many a picture.
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

}  // namespace gondola::test
