#include "torch_towers/torch_encoder.h"

#include <c10/core/InferenceMode.h>
#include <torch/types.h>

#include <cstring>

#include "base/error.h"
#include "checkpoint/quantized_weights.h"
#include "torch_towers/autocast.h"
#include "torch_towers/clip_model.h"
#include "torch_towers/device.h"
#include "torch_towers/message_of.h"

namespace gondola {
namespace {

/// Returns work(), and turns PyTorch's exceptions (such as for full GPU memory) into Error.
auto work_on(const std::string& device, const auto& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    fail("device {}: {}", device, message_of(error));
  }
}

class TorchEncoder : public Encoder {
 public:
  TorchEncoder(const ModelConfig& config, const TensorMap& weights, const std::string& device, Precision precision)
      : model_(config), device_(find_device(device)), bf16_(precision == Precision::bf16) {
    if (precision == Precision::int8)
      fail("device {}: int8 is computed on the CPU alone; bf16 and fp32 are here", device);
    model_.load_weights(dequantize(weights));
    model_.eval();
    model_.to(device_);
  }

  const ModelConfig& config() const override { return model_.config(); }

  void encode_images(std::span<const float> pixels, std::span<float> embeddings) override {
    encode(embeddings, [&] {
      const std::int64_t size = config().image.image_size;
      return model_.encode_images(on_device(pixels, {-1, 3, size, size}).contiguous(at::MemoryFormat::ChannelsLast));
    });
  }

  /// A GPU needs many images at once; the other threads decode meanwhile.
  std::size_t preferred_batch_size() override { return 64; }

  void encode_images_on_this_thread(int, std::span<const float> pixels, std::span<float> embeddings) override {
    encode_images(pixels, embeddings);
  }

  void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) override {
    encode(embeddings, [&] {
      return model_.encode_texts(torch::tensor(at::ArrayRef<std::int32_t>(ids.data(), ids.size()), torch::kLong)
                                     .view({-1, config().text.context_length}));
    });
  }

 private:
  /// Copies to the device; to a GPU through pinned memory, so that the host need not wait.
  torch::Tensor on_device(std::span<const float> values, at::IntArrayRef shape) const {
    const auto host = torch::empty({static_cast<std::int64_t>(values.size())},
                                   torch::TensorOptions().dtype(torch::kFloat).pinned_memory(device_.is_cuda()));
    std::memcpy(host.data_ptr<float>(), values.data(), values.size_bytes());
    return host.to(device_, /*non_blocking=*/true).view(shape);
  }

  void encode(std::span<float> embeddings, const auto& tower) const {
    const c10::InferenceMode inference;
    const Autocast autocast(bf16_, device_.type());
    const auto rows = work_on(device_.str(), [&] { return tower().to(torch::kCPU, torch::kFloat).contiguous(); });
    if (static_cast<std::size_t>(rows.numel()) != embeddings.size())
      fail("room for {} values, the embeddings have {}", embeddings.size(), rows.numel());
    std::memcpy(embeddings.data(), rows.template const_data_ptr<float>(), embeddings.size_bytes());
  }

  ClipModel model_;
  torch::Device device_;
  bool bf16_;
};

}  // namespace

std::unique_ptr<Encoder> make_torch_encoder(const ModelConfig& config, const TensorMap& weights,
                                            const std::string& device, Precision precision) {
  return work_on(device, [&] { return std::make_unique<TorchEncoder>(config, weights, device, precision); });
}

}  // namespace gondola
