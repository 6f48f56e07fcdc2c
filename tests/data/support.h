#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "data/dataset.h"
#include "tests/support/files.h"

namespace gondola::test {

inline Json expected_data() {
  return parse_json(read_file(golden("data/expected.json")), "expected.json");
}

/// The captions that a vocabulary would be trained on.
inline std::vector<std::string> captions_of(const Dataset& data) {
  std::vector<std::string> captions;
  data.for_each_caption([&](std::string_view caption) { captions.emplace_back(caption); });
  return captions;
}

}  // namespace gondola::test
