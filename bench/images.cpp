// bench_images FILE… REPEATS: milliseconds a photo that each stage from a file to the tower's input takes on one core, the
// best of REPEATS rounds over all files. bench/images runs it beside Pillow.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "image/preprocess.h"

namespace {

using namespace gondola;

double milliseconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: bench_images FILE… REPEATS\n");
    return 2;
  }
  const std::vector<std::string> files(argv + 1, argv + argc - 1);
  const PreprocessConfig config;
  std::vector<float> tensor(3 * 224 * 224);
  double decode = INFINITY, resized = INFINITY, rest = INFINITY;
  for (int repeat = std::stoi(argv[argc - 1]); repeat > 0; --repeat) {
    double decode_round = 0, resize_round = 0, all_round = 0;
    for (const std::string& file : files) {
      Image image;
      decode_round += milliseconds_of([&] { image = load_image(file); });
      const int shorter = std::min(image.width, image.height);
      const int width = static_cast<int>(224.0 * image.width / shorter), height = static_cast<int>(224.0 * image.height / shorter);
      resize_round += milliseconds_of([&] {
        resize(image, width, height, Interpolation::bicubic, {(width - 224) / 2, (height - 224) / 2, 224, 224});
      });
      all_round += milliseconds_of([&] { preprocess(image, config, tensor); });
    }
    decode = std::min(decode, decode_round);
    resized = std::min(resized, resize_round);
    rest = std::min(rest, all_round);
  }
  const auto count = static_cast<double>(files.size());
  fmt::print("decode {:.4f} resize {:.4f} preprocess {:.4f}\n", decode / count, resized / count, rest / count);
}
