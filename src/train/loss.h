#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

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

/// How many texts each rank has, and how often each counts.
struct RankTexts {
  /// Gathers them; all ranks must call it.
  RankTexts(const Features& own, Communicator& communicator);

  std::int64_t total = 0;           ///< images of all ranks
  std::vector<std::int64_t> sizes;  ///< number of each rank's texts
  std::int64_t largest = 0;         ///< of the sizes
  at::Tensor counts;                ///< ranks × largest: the images that each text stands for on its rank
};

struct LossOptions {
  bool sigmoid = false;  ///< SigLIP's loss, else CLIP's
  /// Whether pairs with equal texts are each other's positives. If not, all other pairs are negatives, even those with
  /// an equal text. The softmax loss is the same either way as long as equal texts have equal features.
  bool soft_targets = false;
  std::optional<Tile> tile = {};  ///< logits that exist at a time; by default fast_tile()
};

/// The contrastive loss of the N images of all ranks and their texts, with logits z = exp(logit_scale) · image · text:
///
/// softmax (arXiv 2103.00020, figure 3): the cross-entropy of each image's text among all N, averaged over images, and
/// that of each text's image among all N, averaged over texts; the mean of the two. With soft targets equal texts share
/// the target equally.
/// sigmoid (arXiv 2303.15343): −1/N Σ log σ(±(z + logit_bias)) over all N² pairings, + for positives, − for the others.
/// If an image has k texts, all are its positives, and each counts 1/k wherever texts are summed over or averaged.
///
/// Returns the same value on every rank, in fp32, or in fp64 if the images are. The backward pass gives `images` and
/// `texts` the complete gradient of that value, including other ranks' pairs, but logit_scale and logit_bias (scalars)
/// only this rank's share: a parameter's gradient is the sum over ranks. All ranks must run both passes; `communicator`
/// must outlive the backward pass.
///
/// Similarities are computed in fp32 or fp64, even under autocast, tile by tile in the forward pass and again in the
/// backward pass, so that memory grows with N × dim / ranks. The texts travel round a ring of ranks, and with them what
/// is summed over images. Only distinct texts are encoded: one that stands for c pairs counts c times.
at::Tensor contrastive_loss(const Features& features, const at::Tensor& logit_scale, const at::Tensor& logit_bias,
                            const LossOptions& options, Communicator& communicator);

}  // namespace gondola
