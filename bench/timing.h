#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The shortest time of `repeats` runs.
double best_of(int repeats, const auto& body) {
  double best = INFINITY;
  for (; repeats > 0; --repeats) best = std::min(best, seconds_of(body));
  return best;
}
