// bench_contrastive_loss softmax|sigmoid DIM BATCH…: measures the contrastive loss with its backward pass on one
// process: seconds, peak memory beyond the features, and its rate relative to a plain matrix product's.
#include <fmt/format.h>
#include <malloc.h>
#include <torch/types.h>

#include <fstream>
#include <string>

#include "timing.h"
#include "train/loss.h"

namespace {

/// A field of /proc/self/status in MB: "VmRSS:", or "VmHWM:", the peak since the last reset.
double megabytes(const char* what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(what)) return std::stod(line.substr(6)) * 1024 / 1e6;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gondola;
  const std::string loss = argc < 4 ? "" : argv[1];
  if (loss != "softmax" && loss != "sigmoid") {
    fmt::print(stderr, "usage: bench_contrastive_loss softmax|sigmoid DIM BATCH…\n");
    return 2;
  }
  const std::int64_t dim = std::stol(argv[2]);
  const auto a = torch::randn({4096, dim}), b = torch::randn({dim, 4096});
  auto product = torch::empty({4096, 4096});
  const double product_seconds = best_of(10, [&] { torch::mm_out(product, a, b); });
  const double matmul_rate = 2.0 * 4096 * 4096 * static_cast<double>(dim) / product_seconds;
  product.reset();
  for (int i = 3; i < argc; ++i) {
    const std::int64_t batch = std::stol(argv[i]);
    const auto unit = [&] {
      const auto x = torch::randn({batch, dim});
      return (x / x.norm(2, 1, true)).requires_grad_(true);
    };
    const auto images = unit(), texts = unit(), rows = torch::arange(batch, torch::kLong);
    const auto scale = torch::tensor(3.0f).requires_grad_(true), bias = torch::tensor(-10.0f).requires_grad_(true);
    ::malloc_trim(0);                             // gives back what a smaller batch freed
    std::ofstream("/proc/self/clear_refs") << 5;  // resets the peak
    const double before = megabytes("VmRSS:");
    Communicator alone;
    const double seconds = seconds_of([&] {
      contrastive_loss({images, texts, rows.unsqueeze(1), rows}, scale, bias, {.sigmoid = loss == "sigmoid"}, alone)
          .backward();
    });
    const double flops = 4 * 2.0 * static_cast<double>(batch * batch * dim);  // the logits twice, and two gradients
    fmt::print(
        "batch {:6}: {:7.2f} s, {:7.1f} MB above {:.0f} MB of features, {:.0f} GFLOP/s, {:.0f} % of matmul's rate\n",
        batch, seconds, megabytes("VmHWM:") - before, 2.0 * static_cast<double>(batch * dim) * 4 / 1e6,
        flops / seconds / 1e9, 100 * flops / seconds / matmul_rate);
  }
}
