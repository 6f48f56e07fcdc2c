#pragma once

#include <ATen/core/Tensor.h>

namespace gondola {

/// The symmetric contrastive loss (arXiv 2103.00020, figure 3) of n pairs, whose texts may repeat: the mean over images
/// of the cross-entropy of their text among all n, and over texts of their image among all n, averaged. Computed in
/// fp32 or wider.
///
/// images: n × dim and texts: m × dim, both L2-normalised; caption: n, the row of `texts` that belongs to each image.
/// logit_scale: the logarithm of the scale. Only the m distinct texts are encoded: a text that stands for c pairs
/// enters the softmax over texts c times, as a logit raised by ln c.
///
/// With `soft_targets` pairs of the same text are each other's positives, with equal shares; without, each pair is the
/// negative of all others, even where their texts are equal.
at::Tensor contrastive_loss(const at::Tensor& images, const at::Tensor& texts, const at::Tensor& caption,
                            const at::Tensor& logit_scale, bool soft_targets);

}  // namespace gondola
