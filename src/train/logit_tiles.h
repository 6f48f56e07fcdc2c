#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cstdint>

namespace gondola {

/// What similarities are computed in: fp64 for features in fp64, else fp32.
at::ScalarType wide_type(const at::Tensor& features);

/// For its lifetime: autocast would compute similarities in bf16.
c10::impl::ExcludeDispatchKeyGuard without_autocast();

/// Consecutive rows of a matrix or elements of a vector.
struct Slice {
  std::int64_t first, count;
  at::Tensor of(const at::Tensor& x) const { return x.narrow(0, first, count); }
};

/// Calls body(slice) with the slices of `step` (the last may be shorter) that make up `size`.
template <class Body>
void for_each_slice(std::int64_t size, std::int64_t step, const Body& body) {
  for (std::int64_t first = 0; first < size; first += step) body(Slice{first, std::min(step, size - first)});
}

/// How many images × texts are compared at a time.
struct Tile {
  std::int64_t rows, columns;
};

/// Fast on the device: on CPUs two tiles stay in the third-level cache; on GPUs they outlast the launch of a kernel.
Tile fast_tile(at::DeviceType device);

/// Of each image: the rows of texts that are its positives, and with what share of each of a text's repeats (0: it is
/// none).
struct Positives {
  at::Tensor text;   ///< n × k, int64
  at::Tensor share;  ///< n × k
};

/// A block of images against a block of texts. The logits z_ij = scale · image_i · text_j + bias exist a tile at a
/// time. Everything of one type, fp32 or fp64.
struct LogitBlock {
  at::Tensor images;  ///< n × dim
  at::Tensor texts;   ///< m × dim
  at::Tensor counts;  ///< m: how many times each text counts
  at::Tensor scale;   ///< a scalar
  at::Tensor bias;    ///< a scalar, of the sigmoid loss only
  Tile tile;

  /// Adds to over_texts (n) and over_images (m), both logarithms of sums of exponentials, this block's:
  /// ln Σ_j counts_j exp(z_ij) and ln Σ_i exp(z_ij).
  void add_log_sums(const at::Tensor& over_texts, const at::Tensor& over_images) const;

  /// Adds Σ_ij counts_j ln(1 + exp(z_ij)) to an fp64 scalar.
  void add_softplus(const at::Tensor& total) const;

  /// With w_ij = ½ (exp(z_ij − over_texts_i) + exp(z_ij − over_images_j)), adds Σ_j w_ij counts_j text_j to d_images
  /// and Σ_i w_ij image_i to d_texts: `scale` and, for texts, `counts` are left to the caller.
  void add_softmax_gradients(const at::Tensor& over_texts, const at::Tensor& over_images, const at::Tensor& d_images,
                             const at::Tensor& d_texts) const;

  /// The same with w_ij = σ(z_ij); also adds Σ_ij counts_j w_ij to d_bias, an fp64 scalar.
  void add_sigmoid_gradients(const at::Tensor& d_bias, const at::Tensor& d_images, const at::Tensor& d_texts) const;

  /// Takes Σ_ij p_ij z_ij from an fp64 scalar, with j the positives of image i and p_ij = share_ij counts_j.
  void subtract_positives(const Positives& positives, const at::Tensor& total) const;

  /// Takes from d_bias Σ_ij p_ij, from each image's row of d_images Σ_j p_ij text_j, and from row j of d_texts
  /// Σ_i share_ij image_i.
  void subtract_positive_gradients(const Positives& positives, const at::Tensor& d_bias, const at::Tensor& d_images,
                                   const at::Tensor& d_texts) const;

 private:
  template <class Body>
  void for_each_tile(const Body& body) const;
  template <class Body>
  void for_each_positive(const Positives& positives, const Body& body) const;
};

/// Σ a_ij b_ij, an fp64 scalar; in chunks, without a third matrix.
at::Tensor sum_of_products(const at::Tensor& a, const at::Tensor& b);

}  // namespace gondola
