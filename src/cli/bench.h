#pragma once

// What the measurements of `gondola bench` share: bench.cpp times whole towers, bench_kernels.cpp the operations that a
// tower is made of, bench_files.cpp the way from files to embeddings.

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

/// The best of at least three runs and `enough` seconds, after one that warms up.
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

/// Operations a second of all threads, from registers alone.
double peak_rate(ThreadPool& pool, Precision precision);

/// A time, and the processor's peak as it was around it: clocks change with the load.
struct MeasuredSeconds {
  double seconds = 0, peak = 0;
};
MeasuredSeconds beside_peak(ThreadPool& pool, Precision precision, const auto& measure) {
  const double before = peak_rate(pool, precision), seconds = measure();
  return {seconds, std::max(before, peak_rate(pool, precision))};
}

/// One tower of a model, on noise.
class TowerBench {
 public:
  TowerBench(const ModelFiles& files, const std::string& tower, const std::string& device, Precision precision,
             bool full, ThreadPool& pool);

  Encoder& encoder() { return *encoder_; }
  /// That the result needs, of one item.
  double operations() const { return operations_; }
  /// The best time of a batch.
  double seconds(std::size_t batch);

 private:
  ModelConfig config_;
  bool image_;
  int text_tokens_;
  std::unique_ptr<Encoder> encoder_;
  double operations_ = 0;
};

/// The parts of a tower's pass, each timed by itself at the shape it has there, beside the whole pass. Returns the exit
/// status, as does the next.
int bench_kernels(const GlobalOptions& global, const BenchOptions& options);

/// Files to embeddings: each stage, and all of them together.
int bench_files(const GlobalOptions& global, const BenchOptions& options);

}  // namespace gondola::cli
