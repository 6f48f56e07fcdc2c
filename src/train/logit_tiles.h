#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cstdint>

namespace gondola {

/// The type in which similarities are computed: fp64 for features in fp64, else fp32.
at::ScalarType compute_dtype(const at::Tensor& features);

/// Disables autocast, which would compute similarities in bf16, for the lifetime of the guard.
c10::impl::ExcludeDispatchKeyGuard without_autocast();

/// Consecutive rows of a matrix or elements of a vector.
struct Slice {
  std::int64_t first, count;
  at::Tensor of(const at::Tensor& x) const { return x.narrow(0, first, count); }
};

/// Calls body(slice) for slices of `step` that make up `size`; the last may be shorter.
template <class Body>
void for_each_slice(std::int64_t size, std::int64_t step, const Body& body) {
  for (std::int64_t first = 0; first < size; first += step) body(Slice{first, std::min(step, size - first)});
}

/// How many images × texts are compared at a time.
struct Tile {
  std::int64_t rows, columns;
};

/// A size that is fast on the device: on CPUs two tiles fit the L3 cache; on GPUs one outlasts a kernel launch.
Tile fast_tile(at::DeviceType device);

/// For each image, the rows of the texts that are its positives, and the share that each repeat of such a text has
/// (0: not a positive).
struct Positives {
  at::Tensor text;   ///< n × k, int64
  at::Tensor share;  ///< n × k
};

/// A block of images against a block of texts. The logits z_ij = scale · image_i · text_j + bias exist one tile at a
/// time. All tensors have the same type, fp32 or fp64.
struct LogitBlock {
  at::Tensor images;  ///< n × dim
  at::Tensor texts;   ///< m × dim
  at::Tensor counts;  ///< m: how often each text counts
  at::Tensor scale;   ///< a scalar
  at::Tensor bias;    ///< a scalar, only for the sigmoid loss
  Tile tile;

  /// Accumulates this block's part of two log-sum-exps: ln Σ_j counts_j exp(z_ij) in lse_over_texts (n), and
  /// ln Σ_i exp(z_ij) in lse_over_images (m).
  void add_log_sums(const at::Tensor& lse_over_texts, const at::Tensor& lse_over_images) const;

  /// Adds Σ_ij counts_j ln(1 + exp(z_ij)) to an fp64 scalar.
  void add_softplus(const at::Tensor& total) const;

  /// With w_ij = ½ (exp(z_ij − lse_over_texts_i) + exp(z_ij − lse_over_images_j)), adds Σ_j w_ij counts_j text_j to
  /// d_images and Σ_i w_ij image_i to d_texts. The caller multiplies both by `scale` and, for texts, by `counts`.
  void add_softmax_gradients(const at::Tensor& lse_over_texts, const at::Tensor& lse_over_images,
                             const at::Tensor& d_images, const at::Tensor& d_texts) const;

  /// The same with w_ij = σ(z_ij); also adds Σ_ij counts_j w_ij to d_bias, an fp64 scalar.
  void add_sigmoid_gradients(const at::Tensor& d_bias, const at::Tensor& d_images, const at::Tensor& d_texts) const;

  /// Subtracts Σ_ij p_ij z_ij from an fp64 scalar, with j the positives of image i and p_ij = share_ij counts_j.
  void subtract_positives(const Positives& positives, const at::Tensor& total) const;

  /// Subtracts Σ_ij p_ij from d_bias, Σ_j p_ij text_j from each image's row of d_images, and Σ_i share_ij image_i from
  /// row j of d_texts.
  void subtract_positive_gradients(const Positives& positives, const at::Tensor& d_bias, const at::Tensor& d_images,
                                   const at::Tensor& d_texts) const;

 private:
  template <class Body>
  void for_each_tile(const Body& body) const;
  template <class Body>
  void for_each_positive(const Positives& positives, const Body& body) const;
};

/// Σ a_ij b_ij as an fp64 scalar, computed in chunks to avoid a third matrix.
at::Tensor sum_of_products(const at::Tensor& a, const at::Tensor& b);

}  // namespace gondola
