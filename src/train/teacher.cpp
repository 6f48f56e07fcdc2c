#include "train/teacher.h"

#include <torch/types.h>

#include <cmath>

#include "base/error.h"
#include "checkpoint/quantized_weights.h"
#include "torch_towers/autocast.h"
#include "torch_towers/tensors.h"
#include "train/initial_weights.h"

namespace gondola {
namespace {

at::Tensor of_channels(const std::array<float, 3>& values) {
  return torch::tensor({values[0], values[1], values[2]}).view({1, 3, 1, 1});
}

void require_equal(const std::string& name, const char* what, int found, int expected) {
  if (found != expected) fail("teacher.model {}: has {} = {}, the recipe's model {}", name, what, found, expected);
}

}  // namespace

Teacher::Teacher(const Recipe& recipe, const ClipTokenizer& tokenizer, Communicator& communicator) : recipe_(recipe) {
  const std::string& name = recipe.teacher;
  ModelFiles files = load_model_files(name);
  const TextTowerConfig &text = files.config.text, &ours = recipe.model.text;
  require_equal(name, "image_size", files.config.image.image_size, recipe.model.image.image_size);
  require_equal(name, "context_length", text.context_length, ours.context_length);
  require_equal(name, "vocab_size", text.vocab_size, ours.vocab_size);
  require_equal(name, "causal", text.causal, ours.causal);
  if (text.pooling == TextPooling::last)
    fail(
        "teacher.model {}: its text tower reads the last position of the context, but texts in training are padded "
        "only to the longest of a batch",
        name);
  check_vocabulary(files, name, tokenizer);

  model_ = std::make_shared<ClipModel>(files.config);
  const TensorMap weights = dequantize(files.weights);
  std::string kind;
  for (const auto& [tensor_name, tensor] : weights)
    kind += fmt::format("{} {}\n", tensor_name, format_shape(tensor.shape));
  kind += fmt::format("mean {}\nstd {}\n", fmt::join(files.preprocess.mean, " "), fmt::join(files.preprocess.std, " "));
  communicator.require_same("teachers", kind);
  model_->load_weights(weights);
  model_->eval();
  const torch::Device device(recipe.device);
  model_->to(device);
  for (at::Tensor& parameter : model_->parameters()) parameter.requires_grad_(false);
  for (auto& [name_of, tensor] : tensors_of(*model_)) communicator.broadcast(tensor);
  scale_ = std::exp(model_->logit_scale.item<double>());
  // (x·std + mean − mean') / std'
  const auto std = of_channels(files.preprocess.std);
  pixel_factor_ = (of_channels(recipe.preprocess.std) / std).to(device);
  pixel_offset_ = ((of_channels(recipe.preprocess.mean) - of_channels(files.preprocess.mean)) / std).to(device);
}

Features Teacher::encode(const Batch& batch) const {
  const torch::NoGradGuard no_gradients;
  const torch::Device device(recipe_.device);
  const Autocast autocast(recipe_.bf16, device.type());
  const auto in_parts = [&](const at::Tensor& rows, const auto& encode) {
    std::vector<at::Tensor> parts;
    for (const at::Tensor& part : rows.split(recipe_.micro_batch_size > 0 ? recipe_.micro_batch_size : rows.size(0)))
      parts.push_back(normalised(encode(part).to(at::kFloat)));
    return torch::cat(parts);
  };
  const auto images = in_parts(batch.pixels, [&](const at::Tensor& pixels) {
    const auto own = pixels.to(device, at::kFloat) * pixel_factor_ + pixel_offset_;
    return model_->encode_images(own.contiguous(at::MemoryFormat::ChannelsLast));
  });
  const auto texts = in_parts(batch.ids, [&](const at::Tensor& ids) { return model_->encode_texts(ids); });
  return {images, texts, {}, {}};
}

}  // namespace gondola
