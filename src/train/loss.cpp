#include "train/loss.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <limits>
#include <vector>

namespace gondola {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What both passes share: the ranks' texts, except for their features, and which of them are positives.
struct Pairs : torch::CustomClassHolder, RankTexts {
  Pairs(const Features& features, const LossOptions& chosen, Communicator& ranks);

  /// Calls body(owner, texts) with the texts of every rank, this one's first.
  template <class Body>
  void for_each_rank_in_ring(const at::Tensor& own_texts, const Body& body) const;

  /// Pads the rank's own rows with zeros, so that all ranks' tensors have the same shape.
  at::Tensor padded(const at::Tensor& own) const;
  at::Tensor of_owner(const at::Tensor& all, int owner) const { return all[owner].narrow(0, 0, sizes[owner]); }
  at::Tensor gathered(const at::Tensor& one) const { return communicator.all_gather(one).view({-1, largest}); }

  /// This rank's images, not yet with texts.
  LogitBlock block(const at::Tensor& images, const at::Tensor& logit_scale, const at::Tensor& logit_bias) const;

  LossOptions options;
  Communicator& communicator;
  std::vector<Positives> positives;  ///< of this rank's images among each rank's texts
  at::Tensor lse_over_texts;         ///< n: log-sum-exp of each image's logits over all pairs' texts
  at::Tensor lse_over_images;        ///< ranks × largest: of each text's logits over all images

 private:
  void find_positives(const at::Tensor& caption, const at::Tensor& own_keys);
};

Pairs::Pairs(const Features& features, const LossOptions& chosen, Communicator& ranks)
    : RankTexts(features, ranks), options(chosen), communicator(ranks) {
  if (!options.tile) options.tile = fast_tile(features.images.device().type());
  find_positives(features.caption, features.text_keys);
}

void Pairs::find_positives(const at::Tensor& caption, const at::Tensor& own_keys) {
  const int rank = communicator.rank(), size = communicator.size();
  const auto texts_each = caption.size(1);
  positives.resize(static_cast<std::size_t>(size));
  if (!options.soft_targets) {
    positives[rank] = {caption, (counts[rank].take(caption) * texts_each).reciprocal()};
    return;
  }
  const auto keys = gathered(padded(own_keys)), key_of_image = own_keys.take(caption);
  auto equal = at::zeros(caption.sizes(), counts.options());
  for (int owner = 0; owner < size; ++owner) {
    const auto [sorted, order] = of_owner(keys, owner).sort();
    const auto place = at::searchsorted(sorted, key_of_image).clamp_max_(sizes[owner] - 1);
    const auto text = owner == rank ? caption : order.take(place);
    const auto is_equal = (keys[owner].take(text) == key_of_image).to(counts.scalar_type());
    positives[owner] = {text, is_equal};
    equal += is_equal * counts[owner].take(text);
  }
  const auto repeats = (key_of_image.unsqueeze(1) == key_of_image.unsqueeze(2)).sum(1);  // among an image's own texts
  for (Positives& each : positives) each.share /= options.sigmoid ? repeats : equal * texts_each;
}

at::Tensor Pairs::padded(const at::Tensor& own) const {
  auto shape = own.sizes().vec();
  shape[0] = largest - shape[0];
  return shape[0] == 0 ? own.contiguous() : at::cat({own, at::zeros(shape, own.options())});
}

LogitBlock Pairs::block(const at::Tensor& images, const at::Tensor& logit_scale, const at::Tensor& logit_bias) const {
  const auto type = counts.scalar_type();
  return {images.to(type), {}, {}, logit_scale.to(type).exp(), options.sigmoid ? logit_bias.to(type) : at::Tensor(),
          *options.tile};
}

template <class Body>
void Pairs::for_each_rank_in_ring(const at::Tensor& own_texts, const Body& body) const {
  auto passing = padded(own_texts);
  for (int step = 0, size = communicator.size(); step < size; ++step) {
    if (step > 0) passing = communicator.ring_shift(passing);
    const int owner = (communicator.rank() + size - step) % size;
    body(owner, passing.narrow(0, 0, sizes[owner]).to(counts.scalar_type()));
  }
}

class ContrastiveLoss : public torch::autograd::Function<ContrastiveLoss> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& images, const at::Tensor& texts,
                            const at::Tensor& logit_scale, const at::Tensor& logit_bias,
                            const c10::intrusive_ptr<Pairs>& pairs);
  static variable_list backward(AutogradContext* context, const variable_list& d_losses);
};

at::Tensor ContrastiveLoss::forward(AutogradContext* context, const at::Tensor& images, const at::Tensor& texts,
                                    const at::Tensor& logit_scale, const at::Tensor& logit_bias,
                                    const c10::intrusive_ptr<Pairs>& pairs) {
  const auto guard = without_autocast();
  context->save_for_backward({images, texts, logit_scale, logit_bias});
  context->saved_data["pairs"] = at::IValue::make_capsule(pairs);

  const auto wide = pairs->counts.options();
  LogitBlock block = pairs->block(images, logit_scale, logit_bias);
  auto total = at::zeros({}, wide.dtype(at::kDouble));
  pairs->lse_over_texts = at::full({images.size(0)}, -infinity, wide);
  auto lse_over_images = at::full({pairs->largest}, -infinity, wide);
  pairs->for_each_rank_in_ring(texts, [&](int owner, const at::Tensor& their_texts) {
    block.texts = their_texts;
    block.counts = pairs->of_owner(pairs->counts, owner);
    if (pairs->options.sigmoid) {
      block.add_softplus(total);
    } else {
      block.add_log_sums(pairs->lse_over_texts, lse_over_images.narrow(0, 0, their_texts.size(0)));
      lse_over_images = pairs->communicator.ring_shift(lse_over_images);  // home again after the last
    }
    if (const Positives& positives = pairs->positives[owner]; positives.text.defined())
      block.subtract_positives(positives, total);
  });
  if (!pairs->options.sigmoid) {
    pairs->lse_over_images = pairs->gathered(lse_over_images);
    const int rank = pairs->communicator.rank();
    const auto own_counts = pairs->of_owner(pairs->counts, rank);
    const auto from_texts = own_counts * pairs->of_owner(pairs->lse_over_images, rank);
    total += (pairs->lse_over_texts.sum(at::kDouble) + from_texts.sum(at::kDouble)) / 2;
  }
  pairs->communicator.all_reduce(total);
  return (total / pairs->total).to(wide.dtype());
}

variable_list ContrastiveLoss::backward(AutogradContext* context, const variable_list& d_losses) {
  const auto guard = without_autocast();
  const auto saved = context->get_saved_variables();
  const at::Tensor &images = saved[0], &texts = saved[1], &logit_scale = saved[2], &logit_bias = saved[3];
  const auto pairs = c10::static_intrusive_pointer_cast<Pairs>(context->saved_data["pairs"].toCapsule());

  LogitBlock block = pairs->block(images, logit_scale, logit_bias);
  auto d_images = at::zeros_like(block.images);
  auto d_texts = at::zeros({pairs->largest, images.size(1)}, block.images.options());
  auto d_bias = at::zeros({}, block.images.options().dtype(at::kDouble));
  pairs->for_each_rank_in_ring(texts, [&](int owner, const at::Tensor& their_texts) {
    block.texts = their_texts;
    block.counts = pairs->of_owner(pairs->counts, owner);
    const auto d_their_texts = d_texts.narrow(0, 0, their_texts.size(0));
    if (pairs->options.sigmoid)
      block.add_sigmoid_gradients(d_bias, d_images, d_their_texts);
    else
      block.add_softmax_gradients(pairs->lse_over_texts, pairs->of_owner(pairs->lse_over_images, owner), d_images,
                                  d_their_texts);
    if (const Positives& positives = pairs->positives[owner]; positives.text.defined())
      block.subtract_positive_gradients(positives, d_bias, d_images, d_their_texts);
    d_texts = pairs->communicator.ring_shift(d_texts);  // home again after the last
  });
  const int rank = pairs->communicator.rank();
  const auto own_counts = pairs->of_owner(pairs->counts, rank);
  const auto d_logits = d_losses[0].to(block.scale.scalar_type()) / pairs->total;
  d_images.mul_(d_logits * block.scale);
  const auto d_own_texts =
      d_texts.narrow(0, 0, own_counts.size(0)).mul_(own_counts.unsqueeze(1) * d_logits * block.scale);
  // Σ_j dL/dz_ij (z_ij − bias), row i's share of logit_scale's gradient, is image i · its gradient.
  const auto d_scale = sum_of_products(block.images, d_images);
  return {d_images, d_own_texts, d_scale, pairs->options.sigmoid ? d_bias * d_logits : at::Tensor(), at::Tensor()};
}

}  // namespace

RankTexts::RankTexts(const Features& own, Communicator& communicator) {
  const auto& caption = own.caption;
  const auto here = at::tensor({caption.size(0), own.texts.size(0)}, caption.options());
  const auto everywhere = communicator.all_gather(here).view({-1, 2}).cpu();
  for (int owner = 0; owner < communicator.size(); ++owner) {
    total += everywhere[owner][0].item<std::int64_t>();
    sizes.push_back(everywhere[owner][1].item<std::int64_t>());
    largest = std::max(largest, sizes.back());
  }
  const auto repeats = at::bincount(caption.flatten(), {}, largest).to(compute_dtype(own.images));
  counts = communicator.all_gather(repeats / caption.size(1)).view({-1, largest});
}

at::Tensor contrastive_loss(const Features& features, const at::Tensor& logit_scale, const at::Tensor& logit_bias,
                            const LossOptions& options, Communicator& communicator) {
  const auto pairs = c10::make_intrusive<Pairs>(features, options, communicator);
  const auto bias = options.sigmoid ? logit_bias : at::zeros_like(logit_scale);  // autograd takes no undefined tensor
  return ContrastiveLoss::apply(features.images, features.texts, logit_scale, bias, pairs);
}

}  // namespace gondola
