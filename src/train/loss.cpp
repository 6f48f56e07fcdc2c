#include "train/loss.h"

#include <ATen/ATen.h>

namespace gondola {

at::Tensor contrastive_loss(const at::Tensor& images, const at::Tensor& texts, const at::Tensor& caption,
                            const at::Tensor& logit_scale, bool soft_targets) {
  const auto wide = images.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto logits = logit_scale.to(wide).exp() * at::matmul(images.to(wide), texts.to(wide).t());  // n × m
  const auto count = caption.size(0);
  const auto repeats = at::bincount(caption, {}, texts.size(0)).to(wide);  // m
  const auto own_text = logits.gather(1, caption.unsqueeze(1)).squeeze(1);

  // From the image: one of the equal texts and all of them together give the same loss, since their logits are equal.
  const auto over_texts = at::logsumexp(logits + repeats.log(), 1);
  // From the text: each of the equal texts sees the same column.
  const auto over_images = at::logsumexp(logits, 0);
  auto own_image = own_text;
  if (soft_targets) {
    const auto sums = at::zeros({texts.size(0)}, logits.options()).index_add(0, caption, own_text);
    own_image = (sums / repeats).index_select(0, caption);
  }
  const auto from_images = (over_texts - own_text).sum();
  const auto from_texts = (over_images.index_select(0, caption) - own_image).sum();
  return (from_images + from_texts) / (2 * count);
}

}  // namespace gondola
