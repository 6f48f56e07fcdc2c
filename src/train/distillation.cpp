#include "train/distillation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>

namespace gondola {
namespace {

/// One model's similarities of this rank's images with the texts of all ranks.
struct Similarities {
  LogitBlock block;
  at::Tensor lse_over_texts;   ///< n: log-sum-exp of each image's logits
  at::Tensor lse_over_images;  ///< of each text's, over the images of all ranks
};

/// The texts of all ranks in rank order; a rank with fewer than `largest` is padded with copies of its first.
at::Tensor gather_texts(const at::Tensor& own, std::int64_t largest, Communicator& communicator) {
  const auto filler = own.narrow(0, 0, 1).expand({largest - own.size(0), own.size(1)});
  return communicator.all_gather(at::cat({own, filler}));
}

Similarities compare(const LogitBlock& block, Communicator& communicator) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const auto wide = block.images.options();
  Similarities found{block, at::full({block.images.size(0)}, -infinity, wide), {}};
  auto lse_over_images = at::full({1, block.texts.size(0)}, -infinity, wide);
  block.add_log_sums(found.lse_over_texts, lse_over_images[0]);
  found.lse_over_images = communicator.all_gather(lse_over_images).logsumexp(0);
  return found;
}

/// The logits of a tile, and for each pairing the sum of its softmax over texts and its softmax over images. A text
/// that stands for several pairs is taken once.
struct Tiled {
  Tiled(const Similarities& of, const Slice& rows, const Slice& columns)
      : logits(at::mm(rows.of(of.block.images), (columns.of(of.block.texts) * of.block.scale).t())),
        probabilities((logits - rows.of(of.lse_over_texts).unsqueeze(1)).exp_() +
                      (logits - columns.of(of.lse_over_images)).exp_()) {}
  at::Tensor logits, probabilities;
};

/// The loss and its gradients; d_texts (of all ranks' texts) and d_scale are this rank's contributions.
struct Divergence {
  at::Tensor loss, d_images, d_texts, d_scale;
};

Divergence kl_divergence(const Similarities& student, const Similarities& teacher, std::int64_t total,
                         Communicator& communicator) {
  const LogitBlock& block = student.block;
  // KL(p || q) = Σ p (t − s) + lse(s) − lse(t), for rows and for columns.
  auto loss = (student.lse_over_texts - teacher.lse_over_texts).sum(at::kDouble);
  if (communicator.rank() == 0)
    loss += (block.counts * (student.lse_over_images - teacher.lse_over_images)).sum(at::kDouble);
  Divergence found{{}, at::zeros_like(block.images), at::zeros_like(block.texts), {}};
  for_each_slice(block.texts.size(0), block.tile.columns, [&](const Slice& columns) {
    for_each_slice(block.images.size(0), block.tile.rows, [&](const Slice& rows) {
      const Tiled s(student, rows, columns), t(teacher, rows, columns);
      loss += at::mv(t.probabilities * (t.logits - s.logits), columns.of(block.counts)).sum(at::kDouble);
      const auto d_logits = (s.probabilities - t.probabilities) * columns.of(block.counts);
      rows.of(found.d_images).addmm_(d_logits, columns.of(block.texts));
      columns.of(found.d_texts).addmm_(d_logits.t(), rows.of(block.images));
    });
  });
  communicator.all_reduce(loss);
  const double share = 0.5 / static_cast<double>(total);
  found.loss = (loss * share).to(block.images.scalar_type());
  found.d_images.mul_(block.scale * share);
  found.d_texts.mul_(block.scale * share);
  found.d_scale = sum_of_products(block.images, found.d_images);  // as in contrastive_loss
  return found;
}

/// A value whose gradients are known already.
class WithGradients : public torch::autograd::Function<WithGradients> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor&, const at::Tensor&,
                            const at::Tensor&, const Divergence& known) {
    context->save_for_backward({known.d_images, known.d_texts, known.d_scale});
    return known.loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& d_losses) {
    const auto saved = context->get_saved_variables();
    return {saved[0] * d_losses[0], saved[1] * d_losses[0], saved[2] * d_losses[0], {}};
  }
};

}  // namespace

at::Tensor distillation_loss(const Features& student, const Features& teacher, const at::Tensor& logit_scale,
                             double teacher_scale, Communicator& communicator, std::optional<Tile> tile) {
  Divergence found;
  {
    const at::NoGradGuard no_gradients;
    const auto guard = without_autocast();
    const RankTexts texts(student, communicator);
    const auto counts = texts.counts.flatten();
    const auto type = counts.scalar_type();
    const auto similarities = [&](const Features& of, const at::Tensor& scale) {
      return compare({of.images.to(type),
                      gather_texts(of.texts.to(type), texts.largest, communicator),
                      counts,
                      scale,
                      {},
                      tile.value_or(fast_tile(of.images.device().type()))},
                     communicator);
    };
    found =
        kl_divergence(similarities(student, logit_scale.to(type).exp()),
                      similarities(teacher, at::full({}, teacher_scale, counts.options())), texts.total, communicator);
    communicator.all_reduce(found.d_texts);
    found.d_texts = found.d_texts.narrow(0, communicator.rank() * texts.largest, student.texts.size(0));
  }
  return WithGradients::apply(student.images, student.texts, logit_scale, found);
}

}  // namespace gondola
