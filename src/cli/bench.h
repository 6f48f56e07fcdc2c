#pragma once

// Shared by the measurements of `gondola bench`: bench.cpp times whole towers, bench_kernels.cpp the operations of a
// tower, bench_files.cpp the way from files to embeddings.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/precision.h"
#include "base/thread_pool.h"
#include "checkpoint/model_files.h"
#include "cli/command.h"
#include "config/encoder.h"

namespace gondola::cli {

struct BenchOptions {
  std::string tower = "image";
  std::vector<std::size_t> batches = {1, 16, 64};
  bool full = false, kernels = false;
  std::vector<std::string> files;
};

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The shortest time of at least three runs, which together take at least `enough` seconds, after one warm-up run.
double best_seconds(double enough, const auto& body) {
  body();
  double best = seconds_of(body), sum = best;
  for (int run = 1; run < 3 || sum < enough; ++run) {
    const double seconds = seconds_of(body);
    best = std::min(best, seconds);
    sum += seconds;
  }
  return best;
}

/// Peak operations per second of all threads together, on registers alone.
double peak_rate(ThreadPool& pool, Precision precision);

/// A time, and the processor's peak rate as measured around it: clock speeds change with the load.
struct Timing {
  double seconds = 0, peak = 0;
};
Timing time_with_peak(ThreadPool& pool, Precision precision, const auto& measure) {
  const double before = peak_rate(pool, precision), seconds = measure();
  return {seconds, std::max(before, peak_rate(pool, precision))};
}

/// Times one tower of a model, on noise.
class TowerBench {
 public:
  TowerBench(const ModelFiles& files, const std::string& tower, const std::string& device, Precision precision,
             bool full, ThreadPool& pool);

  Encoder& encoder() { return *encoder_; }
  /// FLOPs per item: those that its result needs, or all if `full`.
  double operations() const { return operations_; }
  /// The shortest time for a batch.
  double seconds(std::size_t batch);

 private:
  ModelConfig config_;
  bool image_;
  int text_tokens_;
  std::unique_ptr<Encoder> encoder_;
  double operations_ = 0;
};

/// Times the parts of a tower's pass, each by itself at the shape it has there, and the whole pass. Returns the exit
/// status, as does bench_files.
int bench_kernels(const GlobalOptions& global, const BenchOptions& options);

/// Times the way from files to embeddings: each stage, and all of them together.
int bench_files(const GlobalOptions& global, const BenchOptions& options);

}  // namespace gondola::cli
