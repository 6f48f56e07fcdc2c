// bench_contrastive_loss DIM BATCH…: seconds and peak memory above the features of the contrastive loss with its
// backward pass, alone, and its rate beside a plain matrix product's.
#include <fmt/format.h>
#include <torch/types.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>

#include "train/loss.h"

namespace {

/// "VmRSS:", or "VmHWM:", the most since the count began anew.
double megabytes(const char* what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(what)) return std::stod(line.substr(6)) * 1024 / 1e6;
  return 0;
}

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gondola;
  if (argc < 3) {
    fmt::print(stderr, "usage: bench_contrastive_loss DIM BATCH… (ascending)\n");
    return 2;
  }
  const std::int64_t dim = std::stol(argv[1]);
  const auto a = torch::randn({2048, dim}), b = torch::randn({dim, 2048});
  torch::matmul(a, b);
  const double product = 2.0 * 2048 * 2048 * static_cast<double>(dim) / seconds_of([&] { torch::matmul(a, b); });
  for (int i = 2; i < argc; ++i) {
    const std::int64_t batch = std::stol(argv[i]);
    const auto unit = [&] {
      const auto x = torch::randn({batch, dim});
      return (x / x.norm(2, 1, true)).requires_grad_(true);
    };
    const auto images = unit(), texts = unit(), rows = torch::arange(batch, torch::kLong);
    const auto scale = torch::tensor(3.0f).requires_grad_(true);
    std::ofstream("/proc/self/clear_refs") << 5;  // the count of the most memory begins anew
    const double before = megabytes("VmRSS:");
    Communicator alone;
    const double seconds = seconds_of([&] {
      contrastive_loss({images, texts, rows, rows}, scale, {}, {}, alone).backward();
    });
    const double flops = 4 * 2.0 * static_cast<double>(batch * batch * dim);  // logits twice, and two gradients
    fmt::print("batch {:6}: {:7.2f} s, {:7.1f} MB above {:.0f} MB of features, {:.0f} % of matmul's rate\n", batch,
               seconds, megabytes("VmHWM:") - before, 2.0 * static_cast<double>(batch * dim) * 4 / 1e6,
               100 * flops / seconds / product);
  }
}
