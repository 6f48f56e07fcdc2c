#include "train/objective.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "base/error.h"
#include "torch_towers/autocast.h"
#include "torch_towers/tensors.h"
#include "train/distillation.h"
#include "train/learning_rate_factor.h"
#include "train/rank_sum.h"

namespace gondola {
namespace {

/// Whether an image's representation depends on the others of its batch.
bool normalises_batches(const ClipModel& model) {
  for (const auto& module : model.modules())
    if (module->as<BatchNorm>() && module->is_training()) return true;
  return false;
}

/// The rows of one of `parts` parts, which are as equal as possible.
at::Tensor rows_of(const at::Tensor& rows, std::int64_t part, std::int64_t parts) {
  const std::int64_t first = rows.size(0) * part / parts, last = rows.size(0) * (part + 1) / parts;
  return rows.narrow(0, first, last - first);
}

}  // namespace

Objective::Objective(const Recipe& recipe, Communicator& communicator, at::ScalarType type)
    : recipe_(recipe), communicator_(communicator), model_(std::make_shared<ClipModel>(recipe.model)) {
  const auto place = [&](torch::nn::Module& module) {
    module.to(torch::Device(recipe.device));
    for (const auto& [name, tensor] : tensors_of(module)) tensor.set_data(tensor.to(type));
  };
  if (recipe.low_pass_stem) model_->blur_stem();
  place(*model_);
  model_->recompute_blocks(recipe.activation_checkpointing);
  if (recipe.batch_norm_embeddings) {
    for (auto* norm : {&image_norm_, &text_norm_}) {
      *norm = std::make_shared<EmbeddingNorm>(recipe.model.embed_dim);
      place(**norm);
    }
  }
  for (const auto& item : model_->named_parameters()) {
    if (learning_rate_factor(item.key(), recipe) > 0)
      parameters_.emplace_back(item.key(), item.value());
    else
      item.value().requires_grad_(false);
  }
  train(true);
  if (normalises_batches(*model_) && recipe.micro_batch_size > 0)
    fail("train.micro_batch_size must be 0 for a ModifiedResNet, which normalises over the whole batch");
  if (communicator.size() > 1)
    model_->synchronise_batch_norms([&communicator](const at::Tensor& x) { return sum_over_ranks(x, communicator); });
  sync_ = std::make_unique<GradientSync>(parameters_, communicator);
}

Objective::Embeddings Objective::encode(const Batch& batch, std::int64_t part, std::int64_t parts, bool again) {
  const auto pixels = rows_of(batch.pixels, part, parts), ids = rows_of(batch.ids, part, parts);
  const auto patches = batch.patches.defined() ? rows_of(batch.patches, part, parts).to(recipe_.device) : at::Tensor();
  const torch::Device device(recipe_.device);
  const Autocast autocast(recipe_.bf16, device.type());
  const auto wide = [](const at::Tensor& x) { return x.to(compute_dtype(x)); };
  const auto type = model_->logit_scale.scalar_type();
  Embeddings embeddings;
  if (!(again && recipe_.is_locked(/*image=*/true))) {
    const Trace::Span span(trace_.get(), "encode images");
    const auto rows = pixels.to(device, /*non_blocking=*/true).to(type).contiguous(at::MemoryFormat::ChannelsLast);
    embeddings.images = wide(model_->encode_images(rows, patches));
  }
  if (again && recipe_.is_locked(/*image=*/false)) return embeddings;
  const Trace::Span span(trace_.get(), "encode texts");
  if (ids.size(0) == 0)  // there may be fewer distinct texts than parts
    embeddings.texts = at::zeros({0, recipe_.model.embed_dim}, model_->logit_scale.options());
  else
    embeddings.texts = wide(model_->encode_texts(ids));
  return embeddings;
}

double Objective::loss(const Embeddings& embeddings, const Batch& batch) {
  const Trace::Span span(trace_.get(), "loss");
  const auto caption = batch.caption.to(recipe_.device);
  auto [images, texts] = embeddings;
  if (image_norm_) {
    images = image_norm_->forward(images, at::ones({images.size(0)}, images.options()), communicator_);
    texts = text_norm_->forward(texts, at::bincount(caption.flatten(), {}, texts.size(0)), communicator_);
  }
  const Features features = {normalised(images), normalised(texts), caption, batch.text_keys.to(recipe_.device)};
  // With a weight of 1 only the teacher counts; but a sigmoid loss's bias needs a gradient.
  const bool skips_pairs = teacher_ != nullptr && recipe_.teacher_weight == 1 && !recipe_.model.sigmoid_loss;
  at::Tensor value;
  if (!skips_pairs)
    value = contrastive_loss(features, model_->logit_scale, model_->logit_bias,
                             {recipe_.model.sigmoid_loss, recipe_.soft_targets}, communicator_);
  if (teacher_ != nullptr) {
    const auto distance =
        distillation_loss(features, teacher_->encode(batch), model_->logit_scale, teacher_->scale(), communicator_);
    value = skips_pairs ? distance : (1 - recipe_.teacher_weight) * value + recipe_.teacher_weight * distance;
  }
  value.backward();
  return value.item<double>();
}

double Objective::backward(const Batch& batch) {
  const std::int64_t images = batch.pixels.size(0);
  const std::int64_t parts =
      recipe_.micro_batch_size == 0 ? 1 : (images + recipe_.micro_batch_size - 1) / recipe_.micro_batch_size;
  Embeddings graph;  // of the first part: encoded last, it keeps what its gradients need
  std::vector<at::Tensor> all_images(static_cast<std::size_t>(parts)), all_texts(static_cast<std::size_t>(parts));
  for (std::int64_t index = parts; index-- > 0;) {
    const at::AutoGradMode with_gradients(index == 0);
    graph = encode(batch, index, parts, /*again=*/false);
    all_images[static_cast<std::size_t>(index)] = graph.images.detach();
    all_texts[static_cast<std::size_t>(index)] = graph.texts.detach();
  }
  const Embeddings leaves = {at::cat(all_images).requires_grad_(true), at::cat(all_texts).requires_grad_(true)};
  const double value = loss(leaves, batch);

  for (std::int64_t index = 0; index < parts; ++index) {
    if (index > 0) graph = encode(batch, index, parts, /*again=*/true);
    if (index == parts - 1 && !recipe_.activation_checkpointing)
      sync_->start({model_->logit_scale, model_->logit_bias});
    const Trace::Span span(trace_.get(), "backward");
    std::vector<at::Tensor> roots, gradients;
    for (const auto& [embedding, leaf] :
         {std::pair(graph.images, leaves.images), std::pair(graph.texts, leaves.texts)}) {
      if (!embedding.defined() || !embedding.requires_grad()) continue;  // a locked tower
      roots.push_back(embedding);
      gradients.push_back(rows_of(leaf.grad(), index, parts));
    }
    if (!roots.empty()) torch::autograd::backward(roots, gradients);
  }
  const Trace::Span span(trace_.get(), "wait for gradients");
  if (recipe_.activation_checkpointing) {  // each group of texts adds to a gradient when its blocks are recomputed
    std::vector<at::Tensor> all;
    for (const auto& [name, parameter] : parameters_) all.push_back(parameter);
    sync_->start(all);
  }
  sync_->finish();
  return value;
}

void Objective::broadcast() {
  for (auto& [name, tensor] : tensors()) communicator_.broadcast(tensor);
}

void Objective::clamp_logit_scale() {
  const torch::NoGradGuard no_gradients;
  model_->logit_scale.clamp_(0, std::log(recipe_.max_scale));
}

double Objective::scale() const {
  return std::exp(model_->logit_scale.item<double>());
}

std::optional<double> Objective::bias() const {
  if (!model_->logit_bias.defined()) return std::nullopt;
  return model_->logit_bias.item<double>();
}

void Objective::trace(std::shared_ptr<Trace> trace) {
  sync_->trace(trace);
  trace_ = std::move(trace);
}

void Objective::train(bool training) {
  const std::vector<torch::nn::Module*> modules = {model_.get(), image_norm_.get(), text_norm_.get()};
  for (auto* module : modules)
    if (module != nullptr) module->train(training);
  for (const auto& item : model_->named_modules())  // a locked one keeps its running statistics and uses them
    if (item.value()->as<BatchNorm>() && learning_rate_factor(item.key() + ".weight", recipe_) == 0)
      item.value()->eval();
}

Encoders Objective::evaluation_encoders() {
  const torch::Device device(recipe_.device);
  const auto evaluate = [this, device](const auto& encode, const auto& norm) {
    const torch::NoGradGuard no_gradients;
    const Autocast autocast(recipe_.bf16, device.type());
    const auto embeddings = encode().to(at::kFloat);
    return norm ? norm->evaluate(embeddings) : embeddings;
  };
  return {[=, this](const at::Tensor& pixels) {
            const auto rows = pixels.to(device).contiguous(at::MemoryFormat::ChannelsLast);
            return evaluate([&] { return model_->encode_images(rows); }, image_norm_);
          },
          [=, this](const at::Tensor& ids) { return evaluate([&] { return model_->encode_texts(ids); }, text_norm_); }};
}

NamedTensors Objective::tensors() const {
  NamedTensors tensors;
  const auto add = [&](const std::string& prefix, const torch::nn::Module* module) {
    if (module == nullptr) return;
    for (const auto& [name, tensor] : tensors_of(*module)) tensors.emplace_back(prefix + name, tensor);
  };
  add("model.", model_.get());
  add("image_norm.", image_norm_.get());
  add("text_norm.", text_norm_.get());
  return tensors;
}

TensorMap Objective::state() const {
  TensorMap state;
  for (const auto& [name, tensor] : tensors()) state[name] = from_torch(tensor);
  return state;
}

void Objective::load_state(const TensorMap& state) {
  for (const auto& [name, tensor] : tensors()) restore(tensor, state, name);
}

TensorMap Objective::weights() const {
  TensorMap weights = model_->weights();
  if (image_norm_) fold_embedding_norms(weights, *image_norm_, *text_norm_);
  return weights;
}

}  // namespace gondola
