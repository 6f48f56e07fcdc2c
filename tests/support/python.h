#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

namespace gondola::test {

/// The interpreter that `scripts/setup --train` installs the reference implementations for.
inline const std::filesystem::path python = std::filesystem::path(GONDOLA_SOURCE_DIR) / ".venv" / "bin" / "python";

inline bool python_has(const char* package) {
  return std::system(fmt::format("'{}' -c 'import {}' 2> /dev/null", python.string(), package).c_str()) == 0;
}

}  // namespace gondola::test

/// Skips a test where that interpreter or the package is missing.
#define GONDOLA_NEEDS_PYTHON_WITH(package) \
  if (!::gondola::test::python_has(package)) GTEST_SKIP() << "needs " << (package) << " in .venv"
