#include "train/spike_guard.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace gondola {
namespace {

constexpr std::size_t window = 100, enough = 20;
constexpr std::int64_t limit_in_a_row = 10;

}  // namespace

bool SpikeGuard::accepts(double loss, double gradient_norm) {
  const bool finite = std::isfinite(loss) && std::isfinite(gradient_norm);
  if (factor_ == 0) {
    if (!finite)
      fail(
          "the loss is {} and the norm of its gradients {}: try a new run with a lower train.learning_rate, more "
          "warmup_steps, or a spike_guard",
          loss, gradient_norm);
    return true;
  }
  if (finite && (norms_.size() < enough || gradient_norm <= factor_ * median())) {
    in_a_row_ = 0;
    norms_.push_back(static_cast<float>(gradient_norm));
    if (norms_.size() > window) norms_.pop_front();
    return true;
  }
  ++skipped_;
  if (++in_a_row_ == limit_in_a_row)
    fail(
        "{} updates in a row were skipped, the last with a loss of {} and a gradient norm of {} where {:.3g} is usual: "
        "try a new run with a lower train.learning_rate, more warmup_steps, or a higher spike_guard",
        limit_in_a_row, loss, gradient_norm, norms_.empty() ? 0 : median());
  return false;
}

double SpikeGuard::median() const {
  std::vector<float> sorted(norms_.begin(), norms_.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

Tensor SpikeGuard::state() const {
  std::vector<float> values = {static_cast<float>(skipped_), static_cast<float>(in_a_row_)};  // exact below 2^24
  values.insert(values.end(), norms_.begin(), norms_.end());
  const auto count = static_cast<std::int64_t>(values.size());
  return make_tensor({count}, std::move(values));
}

void SpikeGuard::load_state(const Tensor& state) {
  const std::vector<float> values = to_floats(state);
  if (values.size() < 2) fail("spike_guard: found {} values, expected at least 2", values.size());
  skipped_ = static_cast<std::int64_t>(values[0]);
  in_a_row_ = static_cast<std::int64_t>(values[1]);
  norms_.assign(values.begin() + 2, values.end());
}

}  // namespace gondola
