// bench_images REPEATS FILE…: prints the milliseconds per photo that decoding, resizing to a crop of 224 and
// preprocessing (resizing included) take on one core; best of REPEATS rounds. bench/images compares them with Pillow's.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "image/preprocess.h"
#include "timing.h"

namespace {

using namespace gondola;

struct Times {
  double decode = 0, resize = 0, preprocess = 0;
};

Times one_round(const std::vector<std::string>& files) {
  const PreprocessConfig config;
  constexpr int size = 224;
  std::vector<float> tensor(3 * size * size);
  Times times;
  for (const std::string& file : files) {
    Image image;
    times.decode += seconds_of([&] { image = load_image(file); });
    times.resize += seconds_of([&] {
      const int shorter = std::min(image.width, image.height);
      const int width = size * image.width / shorter, height = size * image.height / shorter;
      resize(image, width, height, config.interpolation, {(width - size) / 2, (height - size) / 2, size, size});
    });
    times.preprocess += seconds_of([&] { preprocess(std::move(image), config, tensor); });
  }
  return times;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: bench_images REPEATS FILE…\n");
    return 2;
  }
  const std::vector<std::string> files(argv + 2, argv + argc);
  Times best{INFINITY, INFINITY, INFINITY};
  for (int repeat = std::stoi(argv[1]); repeat > 0; --repeat) {
    const Times times = one_round(files);
    best.decode = std::min(best.decode, times.decode);
    best.resize = std::min(best.resize, times.resize);
    best.preprocess = std::min(best.preprocess, times.preprocess);
  }
  const double per_photo = 1e3 / static_cast<double>(files.size());
  fmt::print("{:.4f} {:.4f} {:.4f}\n", best.decode * per_photo, best.resize * per_photo, best.preprocess * per_photo);
}
