#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "train/communicator.h"
#include "train/logit_tiles.h"

namespace gondola {

/// One rank's part of a global batch: n images with k texts each, which may repeat.
struct Features {
  at::Tensor images;     ///< n × dim, normalised
  at::Tensor texts;      ///< m × dim, normalised: the distinct texts
  at::Tensor caption;    ///< n × k, int64: each image's rows of texts
  at::Tensor text_keys;  ///< m, int64: equal for equal texts, whatever the rank
};

struct LossOptions {
  bool sigmoid = false;  ///< SigLIP's loss, else CLIP's
  /// Pairs of the same text are each other's positives; without, each pair is the negative of all others, even where
  /// their texts are equal. To the softmax this makes no difference as long as equal texts have equal features.
  bool soft_targets = false;
  std::optional<Tile> tile = {};  ///< of logits that exist at a time; by default what is fast on the device
};

/// The contrastive loss of the N images of all ranks and their texts, with z the logits exp(logit_scale) · image ·
/// text:
///
/// softmax (arXiv 2103.00020, figure 3): the mean over images of the cross-entropy of their text among all N, and over
/// texts of their image among all N, averaged; with soft targets equal texts share the target equally;
/// sigmoid (arXiv 2303.15343): −1/N Σ log σ(±(z + logit_bias)) over all N² pairings, + for positives, − for the others.
/// Where an image has k texts, all are its positives, and each counts 1/k wherever texts are summed over or averaged.
///
/// Returns the same value on every rank, in fp32, or fp64 if the images are. Its backward leaves in `images` and
/// `texts` the complete gradient of that value, other ranks' pairs included, and in logit_scale and logit_bias
/// (scalars) this rank's share: a parameter's gradient is the sum over ranks. All ranks must call both; `communicator`
/// must outlive the backward pass.
///
/// Similarities are computed in fp32 or fp64, under autocast too, tile by tile on the way there and again on the way
/// back, so that memory grows with N × dim / ranks. Between ranks the texts go round a ring, and with them what is
/// summed over images. Only the distinct texts are encoded: one that stands for c pairs counts c times.
at::Tensor contrastive_loss(const Features& features, const at::Tensor& logit_scale, const at::Tensor& logit_bias,
                            const LossOptions& options, Communicator& communicator);

}  // namespace gondola
