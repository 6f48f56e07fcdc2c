#include "train/cutmix.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

namespace gondola {
namespace {

struct Range {
  std::int64_t first, count;
};

/// A side of the box, wherever its middle falls: what would be outside of the picture is cut off.
Range random_range(std::int64_t size, double share, Random& random) {
  const auto length = static_cast<std::int64_t>(std::llround(share * static_cast<double>(size)));
  const auto first = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size))) - length / 2;
  const std::int64_t begin = std::max<std::int64_t>(first, 0), end = std::min(first + length, size);
  return {begin, end - begin};
}

}  // namespace

void cutmix(Batch& batch, const std::vector<double>& probabilities, double most, Random random) {
  const double draw = random.uniform(), side = std::sqrt(random.uniform());
  if (draw >= most) return;
  const std::size_t distance = 1 + random.below(cutmix_rows - 1);
  std::vector<std::int64_t> partner(probabilities.size());
  for (std::size_t row = 0; row < partner.size(); ++row) {
    const std::size_t other = row ^ distance;
    const bool is_mixed = other < partner.size() && draw < std::min(probabilities[row], probabilities[other]);
    partner[row] = static_cast<std::int64_t>(is_mixed ? other : row);
  }
  const std::int64_t height = batch.pixels.size(2), width = batch.pixels.size(3);
  const Range rows = random_range(height, side, random), columns = random_range(width, side, random);
  batch.partner = at::tensor(partner);
  batch.own_share = 1 - static_cast<double>(rows.count * columns.count) / static_cast<double>(height * width);
  const at::Tensor box = batch.pixels.narrow(2, rows.first, rows.count).narrow(3, columns.first, columns.count);
  box.copy_(box.index_select(0, batch.partner));
}

}  // namespace gondola
