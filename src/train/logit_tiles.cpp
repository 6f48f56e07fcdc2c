#include "train/logit_tiles.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gondola {
namespace {

/// Memory for a tile, to be reused: with fresh memory, page faults would cost a tenth of a matrix product.
class TileBuffer {
 public:
  explicit TileBuffer(const LogitBlock& block)
      : values_(at::empty(
            {std::min(block.tile.rows, block.images.size(0)) * std::min(block.tile.columns, block.texts.size(0))},
            block.images.options())) {}
  at::Tensor tile(std::int64_t rows, std::int64_t columns) const {
    return values_.narrow(0, 0, rows * columns).view({rows, columns});
  }

 private:
  at::Tensor values_;
};

void add_logarithms(at::Tensor into, const at::Tensor& found) {
  at::logaddexp_out(into, into, found);
}

void add_products(const LogitBlock& block, const at::Tensor& weights, const Slice& rows, const Slice& columns,
                  double factor, const at::Tensor& d_images, const at::Tensor& d_texts) {
  const auto counted = columns.of(block.texts) * columns.of(block.counts).unsqueeze(1);
  rows.of(d_images).addmm_(weights, counted, 1, factor);
  columns.of(d_texts).addmm_(weights.t(), rows.of(block.images), 1, factor);
}

}  // namespace

at::ScalarType compute_dtype(const at::Tensor& features) {
  return features.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

c10::impl::ExcludeDispatchKeyGuard without_autocast() {
  return c10::impl::ExcludeDispatchKeyGuard(c10::autocast_dispatch_keyset);
}

Tile fast_tile(at::DeviceType device) {
  return device == at::kCPU ? Tile{1024, 2048} : Tile{4096, 8192};
}

/// Calls body(logits, rows, columns) for each tile; it may overwrite the logits.
template <class Body>
void LogitBlock::for_each_tile(const Body& body) const {
  const TileBuffer buffer(*this);
  for_each_slice(texts.size(0), tile.columns, [&](const Slice& columns) {
    const auto scaled = (columns.of(texts) * scale).t();
    for_each_slice(images.size(0), tile.rows, [&](const Slice& rows) {
      auto logits = buffer.tile(rows.count, columns.count);
      at::mm_out(logits, rows.of(images), scaled);
      if (bias.defined()) logits.add_(bias);
      body(logits, rows, columns);
    });
  });
}

void LogitBlock::add_log_sums(const at::Tensor& lse_over_texts, const at::Tensor& lse_over_images) const {
  const TileBuffer buffer(*this);
  // Each row and each column is shifted by its own maximum: with a common one, a row of small logits would underflow.
  for_each_tile([&](at::Tensor& logits, const Slice& rows, const Slice& columns) {
    auto shifted = buffer.tile(rows.count, columns.count);
    const auto column_max = logits.amax(0);
    at::sub_out(shifted, logits, column_max).exp_();
    add_logarithms(columns.of(lse_over_images), column_max + shifted.sum(0).log());
    const auto row_max = logits.amax(1);
    logits.sub_(row_max.unsqueeze(1)).exp_();
    add_logarithms(rows.of(lse_over_texts), row_max + at::mv(logits, columns.of(counts)).log());
  });
}

void LogitBlock::add_softplus(const at::Tensor& total) const {
  for_each_tile([&](at::Tensor& logits, const Slice&, const Slice& columns) {
    constexpr double linear_from = 80;  // ln(1 + exp(80)) is 80 in fp64 too, and exp(80) is finite in fp32
    at::softplus_out(logits, logits, 1, linear_from);
    total.add_(at::mv(logits, columns.of(counts)).sum(at::kDouble));
  });
}

/// Calls body(rows, text, share) for each slice of images and each k, with the k-th positive of every image.
template <class Body>
void LogitBlock::for_each_positive(const Positives& positives, const Body& body) const {
  for_each_slice(images.size(0), tile.rows, [&](const Slice& rows) {
    for (std::int64_t k = 0; k < positives.text.size(1); ++k)
      body(rows, rows.of(positives.text).select(1, k), rows.of(positives.share).select(1, k));
  });
}

void LogitBlock::subtract_positives(const Positives& positives, const at::Tensor& total) const {
  for_each_positive(positives, [&](const Slice& rows, const at::Tensor& text, const at::Tensor& share) {
    auto logits = (rows.of(images) * texts.index_select(0, text)).sum(1) * scale;
    if (bias.defined()) logits += bias;
    total.sub_((logits * share * counts.index_select(0, text)).sum(at::kDouble));
  });
}

void LogitBlock::subtract_positive_gradients(const Positives& positives, const at::Tensor& d_bias,
                                             const at::Tensor& d_images, const at::Tensor& d_texts) const {
  for_each_positive(positives, [&](const Slice& rows, const at::Tensor& text, const at::Tensor& share) {
    const auto counted = share * counts.index_select(0, text);
    d_bias.sub_(counted.sum(at::kDouble));
    rows.of(d_images).addcmul_(texts.index_select(0, text), counted.unsqueeze(1), -1);
    d_texts.index_add_(0, text, rows.of(images) * share.unsqueeze(1), -1);
  });
}

void LogitBlock::add_softmax_gradients(const at::Tensor& lse_over_texts, const at::Tensor& lse_over_images,
                                       const at::Tensor& d_images, const at::Tensor& d_texts) const {
  const TileBuffer buffer(*this);
  for_each_tile([&](at::Tensor& logits, const Slice& rows, const Slice& columns) {
    auto of_rows = buffer.tile(rows.count, columns.count);
    at::sub_out(of_rows, logits, rows.of(lse_over_texts).unsqueeze(1)).exp_();
    logits.sub_(columns.of(lse_over_images)).exp_().add_(of_rows);
    add_products(*this, logits, rows, columns, 0.5, d_images, d_texts);
  });
}

void LogitBlock::add_sigmoid_gradients(const at::Tensor& d_bias, const at::Tensor& d_images,
                                       const at::Tensor& d_texts) const {
  for_each_tile([&](at::Tensor& logits, const Slice& rows, const Slice& columns) {
    logits.sigmoid_();
    d_bias.add_(at::mv(logits, columns.of(counts)).sum(at::kDouble));
    add_products(*this, logits, rows, columns, 1, d_images, d_texts);
  });
}

at::Tensor sum_of_products(const at::Tensor& a, const at::Tensor& b) {
  auto sum = at::zeros({}, a.options().dtype(at::kDouble));
  for_each_slice(a.size(0), 4096,
                 [&](const Slice& rows) { sum.add_((rows.of(a) * rows.of(b)).sum(1).sum(at::kDouble)); });
  return sum;
}

}  // namespace gondola
