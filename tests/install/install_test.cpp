// An installed library, found by find_package(Gondola), builds and runs the example program.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/files.h"

namespace gondola {
namespace {

TEST(Installation, BuildsAndRunsTheExample) {
  const test::TemporaryFolder folder;
  const std::string prefix = (folder.path() / "prefix").string(), build = (folder.path() / "build").string();
  const auto shell = [](const std::string& command) { return std::system((command + " > /dev/null").c_str()); };
  ASSERT_EQ(shell("cmake --install '" GONDOLA_BINARY_DIR "' --prefix '" + prefix + "'"), 0);
  ASSERT_EQ(shell("cmake -S '" GONDOLA_SOURCE_DIR "/examples/classify' -B '" + build + "' -DCMAKE_PREFIX_PATH='" +
                  prefix + "' -DCMAKE_BUILD_TYPE=Release && cmake --build '" + build + "'"),
            0);
  std::ofstream(folder.path() / "CMakeLists.txt") << "cmake_minimum_required(VERSION 3.25)\n"
                                                     "project(Other LANGUAGES CXX)\n"
                                                     "find_package(Gondola REQUIRED)\n"
                                                     "file(READ ${Gondola_MODELS_DIR}/default/README.md card)\n";
  EXPECT_EQ(
      shell("cmake -S '" + folder.path().string() + "' -B '" + build + "-other' -DCMAKE_PREFIX_PATH='" + prefix + "'"),
      0);
#ifdef GONDOLA_WITH_TRAIN
  EXPECT_EQ(shell("'" + prefix + "/bin/gondola' train --help"), 0);
  EXPECT_EQ(shell("ldd '" + prefix + "/lib/gondola/libgondola-torch.so' > '" + build + "/needs'"), 0);
  EXPECT_NE(shell("grep 'not found' '" + build + "/needs'"), 0);
  EXPECT_EQ(shell("'" + prefix + "/bin/gondola' --device cuda:99 bench --batch 1 2>&1 | grep 'device cuda:99'"), 0)
      << "libgondola-torch.so is found";
#endif
  const std::string photo = "'" GONDOLA_SOURCE_DIR "/examples/photos/chelsea.png'";
  const std::string best_is_cat = " | grep -v png | head -n 1 | grep cat";
  EXPECT_EQ(shell("'" + build + "/classify' '" + prefix + "/share/gondola/models/default' " + photo + " rocket cat" +
                  best_is_cat),
            0);
  EXPECT_EQ(shell("XDG_CACHE_HOME='" + build + "' '" + prefix + "/bin/gondola' classify " + photo +
                  " --labels rocket,cat" + best_is_cat),
            0);
  for (const std::string& model : {std::string("/nowhere"), std::string(300, 'x')}) {  // the second is too long
    const int status = shell("'" + build + "/classify' " + model + " " + photo + " cat 2> /dev/null");
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << model << ": " << status;  // an Error, no abort
  }
}

/// As with FetchContent; only configured, not built again.
TEST(Installation, WorksAsASubproject) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "main.cpp") << "#include <gondola/model.h>\nint main() {}\n";
  std::ofstream(folder.path() / "CMakeLists.txt") << "cmake_minimum_required(VERSION 3.25)\n"
                                                     "project(Other LANGUAGES CXX)\n"
                                                     "set(GONDOLA_TRAIN OFF)\n"
                                                     "add_subdirectory(\"" GONDOLA_SOURCE_DIR
                                                     "\" gondola)\n"
                                                     "add_executable(other main.cpp)\n"
                                                     "target_link_libraries(other PRIVATE Gondola::gondola)\n"
                                                     "install(FILES main.cpp DESTINATION src)\n";
  const std::string build = (folder.path() / "build").string();
  EXPECT_EQ(
      std::system(("cmake -G 'Unix Makefiles' -S '" + folder.path().string() + "' -B '" + build +
                   "' > /dev/null && cmake --build '" + build + "' --target main.o > /dev/null && cmake --install '" +
                   build + "' --prefix '" + folder.path().string() + "/prefix' > /dev/null")
                      .c_str()),
      0)
      << "what is installed is the other project's alone";
}

}  // namespace
}  // namespace gondola
