// The linker must not be able to use code compiled for one instruction set in code that runs on all processors.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>

namespace gondola {
namespace {

namespace fs = std::filesystem;

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  while (fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) text += buffer.data();
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

/// Weak symbols (W, V, u in nm's output) are inline functions that several units may define, of which the linker keeps
/// one; "DW.ref." is only a pointer to the run-time library, under sanitizers.
TEST(InstructionSets, NoKernelSharesAnInlineFunction) {
  std::size_t objects = 0;
  for (const std::string room : {"kernels", "image"}) {
    const fs::path folder = fs::path(GONDOLA_BINARY_DIR) / "src" / "CMakeFiles" / ("gondola_" + room + ".dir") / room;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".o")) continue;
      if (name.find("_avx") == std::string::npos && name.find("_amx") == std::string::npos) continue;
      ++objects;
      EXPECT_NE(output_of("nm --defined-only '" + entry.path().string() + "'"), "") << name;
      EXPECT_EQ(output_of("nm -C --defined-only '" + entry.path().string() +
                          "' | grep -E ' [WVu] ' | grep -v 'V DW.ref.' || true"),
                "")
          << name;
    }
  }
  EXPECT_GE(objects, 15u);
}

}  // namespace
}  // namespace gondola
