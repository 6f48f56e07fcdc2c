// bench_loader CSV BATCH SIZE: prints the images per second that the training loader (train/loader.h) delivers from a
// file of image,caption rows, with open_clip's augmentation: a crop of 0.9 to 1 of the area. It uses two threads, as it
// does when the towers run on the CPU; best of three passes.
#include <fmt/format.h>

#include <string>

#include "timing.h"
#include "train/loader.h"

int main(int argc, char** argv) {
  using namespace gondola;
  if (argc != 4) {
    fmt::print(stderr, "usage: bench_loader CSV BATCH SIZE\n");
    return 2;
  }
  Recipe recipe;
  recipe.batch_size = std::stoi(argv[2]);
  recipe.preprocess.size = std::stoi(argv[3]);
  recipe.augment = {{.min_crop_area = 0.9}};
  const auto dataset = open_dataset(argv[1]);
  const ClipTokenizer tokenizer = ClipTokenizer::from_merges({});
  const std::int64_t steps = Loader::batches_per_epoch(*dataset, recipe);
  const double seconds = best_of(3, [&] {
    Loader loader(*dataset, tokenizer, recipe, 0, steps);
    for (std::int64_t step = 0; step < steps; ++step) loader.next();
  });
  fmt::print("{:.0f} images a second\n", static_cast<double>(steps * recipe.batch_size) / seconds);
}
