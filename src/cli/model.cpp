#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "cli/command.h"

namespace gondola::cli {

std::string model_name(const GlobalOptions& global) {
  if (!global.model.empty()) return global.model;
  namespace fs = std::filesystem;
  // Beside a build in the source tree (build/release/gondola), and beside an installed program (bin/gondola).
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  for (const char* candidate : {"../../models/default", "../share/gondola/models/default"})
    if (const fs::path folder = program / candidate; fs::exists(folder)) return fs::weakly_canonical(folder).string();
  fail("the default model is not beside the program ({}); name a model with --model", program.string());
}

}  // namespace gondola::cli
