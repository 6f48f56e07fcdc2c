#pragma once

#include "base/json.h"
#include "tests/support/files.h"

namespace gondola::test {

inline Json expected_data() {
  return parse_json(read_file(golden("data/expected.json")), "expected.json");
}

}  // namespace gondola::test
