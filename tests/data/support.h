#pragma once

#include <fstream>
#include <string>

#include "base/json.h"
#include "tests/support/files.h"

namespace gondola::test {

inline void write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

inline Json expected_data() {
  return parse_json(read_file(golden("data/expected.json")), "expected.json");
}

}  // namespace gondola::test
