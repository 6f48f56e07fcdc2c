// classify MODEL IMAGE LABEL…: which label fits the image best?
//
// Build it against an installed Gondola:
//   cmake -S examples/classify -B build/example -DCMAKE_PREFIX_PATH=/where/it/is/installed
//   cmake --build build/example
#include <gondola/model.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: classify MODEL IMAGE LABEL...\n");
    return 2;
  }
  try {
    const gondola::Model model = gondola::Model::load(argv[1]);
    const std::filesystem::path image = argv[2];
    const std::vector<std::string> labels(argv + 3, argv + argc);
    for (const gondola::ScoredLabel& one : model.classifier(labels).classify(image))
      std::printf("%.4f %s\n", one.score, one.label.c_str());
  } catch (const gondola::Error& error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 1;
  }
}
