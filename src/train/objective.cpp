#include "train/objective.h"

#include <ATen/autocast_mode.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>

#include <cmath>

#include "torch_towers/tensors.h"
#include "train/learning_rates.h"
#include "train/loss.h"

namespace gondola {
namespace {

/// bf16 arithmetic where autocast deems it safe, for the lifetime of the object.
class Autocast {
 public:
  Autocast(bool bf16, c10::DeviceType device) : device_(device), was_(at::autocast::is_autocast_enabled(device)) {
    at::autocast::set_autocast_enabled(device_, bf16);
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  }
  ~Autocast() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, was_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType device_;
  bool was_;
};

at::Tensor normalised(const at::Tensor& x) {
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

}  // namespace

Objective::Objective(const Recipe& recipe) : recipe_(recipe), model_(std::make_shared<ClipModel>(recipe.model)) {
  model_->to(torch::Device(recipe.device));
  if (recipe.batch_norm_embeddings) {
    for (auto* norm : {&image_norm_, &text_norm_}) {
      *norm = std::make_shared<EmbeddingNorm>(recipe.model.embed_dim);
      (*norm)->to(torch::Device(recipe.device));
    }
  }
  for (const auto& item : model_->named_parameters()) {
    if (learning_rate_factor(item.key(), recipe) > 0)
      parameters_.emplace_back(item.key(), item.value());
    else
      item.value().requires_grad_(false);
  }
  train(true);
}

double Objective::backward(const Batch& batch) {
  const torch::Device device(recipe_.device);
  const auto pixels = batch.pixels.to(device).contiguous(at::MemoryFormat::ChannelsLast);
  const auto ids = batch.ids.to(device), caption = batch.caption.to(device);
  at::Tensor images, texts;
  {
    const Autocast autocast(recipe_.bf16, device.type());
    images = model_->encode_images(pixels);
    texts = model_->encode_texts(ids);
  }
  images = images.to(at::kFloat);
  texts = texts.to(at::kFloat);
  if (image_norm_) {
    images = image_norm_->forward(images, at::ones({images.size(0)}, images.options()));
    texts = text_norm_->forward(texts, at::bincount(caption, {}, texts.size(0)));
  }
  Communicator alone;
  const auto loss = contrastive_loss({normalised(images), normalised(texts), caption, batch.text_keys.to(device)},
                                     model_->logit_scale, model_->logit_bias,
                                     {recipe_.model.sigmoid_loss, recipe_.soft_targets}, alone);
  const double value = loss.item<double>();
  loss.backward();
  return value;
}

void Objective::constrain() {
  const torch::NoGradGuard no_gradients;
  model_->logit_scale.clamp_(0, std::log(recipe_.max_scale));
}

double Objective::scale() const {
  return std::exp(model_->logit_scale.item<double>());
}

void Objective::train(bool training) {
  const std::vector<torch::nn::Module*> modules = {model_.get(), image_norm_.get(), text_norm_.get()};
  for (auto* module : modules)
    if (module != nullptr) module->train(training);
  for (const auto& item : model_->named_modules())  // a locked one keeps its running statistics, and computes by them
    if (item.value()->as<torch::nn::BatchNorm2d>() && learning_rate_factor(item.key() + ".weight", recipe_) == 0)
      item.value()->eval();
}

Encoders Objective::evaluation_encoders() {
  const torch::Device device(recipe_.device);
  const auto encode = [this, device](const at::Tensor& input, auto method, const auto& norm) {
    const torch::NoGradGuard no_gradients;
    const Autocast autocast(recipe_.bf16, device.type());
    const auto embeddings = (model_.get()->*method)(input.to(device)).to(at::kFloat);
    return norm ? norm->forward(embeddings, {}) : embeddings;
  };
  return {[=, this](const at::Tensor& pixels) {
            return encode(pixels.contiguous(at::MemoryFormat::ChannelsLast), &ClipModel::encode_images, image_norm_);
          },
          [=, this](const at::Tensor& ids) { return encode(ids, &ClipModel::encode_texts, text_norm_); }};
}

AdamW::NamedParameters Objective::tensors() const {
  AdamW::NamedParameters tensors;
  const auto add = [&](const std::string& prefix, const torch::nn::Module* module) {
    if (module == nullptr) return;
    for (const auto& list : {module->named_parameters(), module->named_buffers()})
      for (const auto& item : list)
        if (item.value().is_floating_point()) tensors.emplace_back(prefix + item.key(), item.value());
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
