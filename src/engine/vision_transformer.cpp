#include <algorithm>
#include <vector>

#include "engine/image_tower.h"
#include "engine/linear.h"
#include "engine/transformer.h"
#include "engine/workspace.h"
#include "kernels/convolution.h"

namespace gondola {
namespace {

/// The ViT of Dosovitskiy et al. 2021 as in CLIP (OpenAI clip/model.py, VisionTransformer; averaging as in open_clip).
class VisionTransformer : public ImageTower {
 public:
  VisionTransformer(const Kernels& kernels, const CpuOptions& options, const ModelConfig& config,
                    const Weights& weights, ThreadPool& pool)
      : kernels_(kernels),
        config_(config.image),
        embed_dim_(static_cast<std::size_t>(config.embed_dim)),
        transformer_(kernels, weights.below("transformer"),
                     TransformerConfig(config.image, options, /*is_causal=*/false), pool) {
    const FloatArray patch_weight = weights["conv1.weight"];
    // Pixels need more than int8, and this is only one product of 49 (with twelve layers).
    patch_embedding_ = Linear(kernels, float_precision(kernels, options.precision), patch_weight.values(), {},
                              patch_values(), width());
    const FloatArray positions = weights["positional_embedding"], class_embedding = weights["class_embedding"];
    first_tokens_.assign(positions.values().begin(), positions.values().end());
    for (std::size_t i = 0; i < width(); ++i) first_tokens_[i] += class_embedding.data()[i];
    if (config_.pre_norm) pre_norm_ = LayerNorm(kernels, weights, "ln_pre", config_.norm_eps);
    post_norm_ = LayerNorm(kernels, weights, "ln_post", config_.norm_eps);
    projection_ = Linear::from_projection(kernels, weights["proj"].values(), {}, width(), embed_dim_);
  }

  std::size_t preferred_batch_size() const override { return std::max<std::size_t>(1, preferred_tokens / tokens()); }

  std::size_t workspace_size(std::size_t threads, std::size_t images) const override {
    Workspace counter;
    TransformerBuffers(counter, kernels_, transformer_.config(), threads, sequences_of(images));
    PatchBuffers(counter, threads, images * tokens(), patch_values());
    return counter.used();
  }

  void forward(const Team& team, float* memory, const float* pixels, std::size_t images,
               float* embeddings) const override {
    const std::vector<Sequence> sequences = sequences_of(images);
    Workspace workspace(memory);
    const TransformerBuffers buffers(workspace, kernels_, transformer_.config(), team.size(), sequences);
    embed_patches(team, pixels, images, PatchBuffers(workspace, team.size(), buffers.rows, patch_values()),
                  buffers.tokens);
    if (config_.pre_norm) {
      pre_norm_.apply(team, buffers.rows, token_rows(buffers), token_rows(buffers));
      team.wait();
    }
    const bool class_token = config_.pooling == ImagePooling::class_token;
    transformer_.forward(team, buffers, sequences, class_token);

    const RowsOut pooled = {buffers.pooled_tokens, width()}, pooled_normed = {buffers.pooled_normed.data, width()};
    if (!class_token) average_tokens(team, buffers, images);
    const bool norm_last = class_token || config_.final_norm_after_pooling;
    if (norm_last) {
      post_norm_.apply(team, images, pooled, pooled_normed);
      team.wait();
    }
    projection_.apply(team, images, norm_last ? pooled_normed : pooled, {embeddings, embed_dim_});
  }

 private:
  std::size_t width() const { return static_cast<std::size_t>(config_.width); }
  std::size_t tokens() const { return static_cast<std::size_t>(config_.tokens()); }
  std::size_t patch_values() const { return static_cast<std::size_t>(3 * config_.patch_size * config_.patch_size); }

  struct PatchBuffers {
    PatchBuffers(Workspace& workspace, std::size_t threads, std::size_t rows, std::size_t values)
        : patches{workspace.take(rows * values)}, scratch(workspace.take(threads * values)) {}
    OperandBuffer patches;
    float* scratch;  ///< one patch per thread
  };

  /// Each image is a sequence, whose class token comes first.
  std::vector<Sequence> sequences_of(std::size_t images) const {
    std::vector<Sequence> sequences(images);
    for (std::size_t image = 0; image < images; ++image) sequences[image] = {image * tokens(), tokens(), 0};
    return sequences;
  }

  RowsOut token_rows(const TransformerBuffers& buffers) const { return {buffers.tokens, width()}; }

  /// Computes the convolution with stride patch_size as a product. The class token is a patch of zeros, so that every
  /// row is the product plus its row of first_tokens_.
  void embed_patches(const Team& team, const float* pixels, std::size_t images, const PatchBuffers& buffers,
                     float* tokens_out) const {
    const std::size_t size = static_cast<std::size_t>(config_.image_size), count = images * tokens();
    const std::size_t patch_size = static_cast<std::size_t>(config_.patch_size);
    const Precision precision = patch_embedding_.precision();
    const RowsOut patches = buffers.patches.rows(precision, patch_values());
    const Range mine = team.share(count);
    for (std::size_t row = mine.first; row < mine.last; ++row) {
      const std::size_t image = row / tokens(), token = row % tokens();
      const RowsOut patch = patches.from(row);
      float* values = precision == Precision::fp32 ? static_cast<float*>(patch.data)
                                                   : buffers.scratch + team.rank() * patch_values();
      if (token == 0) {
        std::fill_n(values, patch_values(), 0.0f);
      } else {
        gather_patches(
            {3, size, size, patch_size, patch_size, 0, pixels + image * 3 * size * size, values, 0, token - 1, token});
      }
      if (precision != Precision::fp32) kernels_.convert({1, patch_values(), values, patch_values(), patch});
      std::copy_n(first_tokens_.data() + token * width(), width(), tokens_out + row * width());
    }
    team.wait();
    patch_embedding_.apply(team, count, patches, {tokens_out, width()}, Epilogue::none, {tokens_out, width()});
    team.wait();
  }

  /// Averages the patch tokens, without the class token: open_clip's pool_type "avg".
  void average_tokens(const Team& team, const TransformerBuffers& buffers, std::size_t images) const {
    if (!config_.final_norm_after_pooling) {
      post_norm_.apply(team, images * tokens(), token_rows(buffers), token_rows(buffers));
      team.wait();
    }
    const Range mine = team.share(images);
    for (std::size_t image = mine.first; image < mine.last; ++image) {
      const float* first = buffers.tokens + (image * tokens() + 1) * width();
      float* mean = buffers.pooled_tokens + image * width();
      std::fill_n(mean, width(), 0.0f);
      for (std::size_t token = 0; token + 1 < tokens(); ++token)
        for (std::size_t i = 0; i < width(); ++i) mean[i] += first[token * width() + i];
      for (std::size_t i = 0; i < width(); ++i) mean[i] /= static_cast<float>(tokens() - 1);
    }
    team.wait();
  }

  const Kernels& kernels_;
  ImageTowerConfig config_;
  std::size_t embed_dim_;
  Linear patch_embedding_, projection_;
  std::vector<float> first_tokens_;  ///< tokens × width: positions, the first plus the class embedding
  LayerNorm pre_norm_, post_norm_;
  Transformer transformer_;
};

}  // namespace

std::unique_ptr<ImageTower> make_vision_transformer(const Kernels& kernels, const CpuOptions& options,
                                                    const ModelConfig& config, const Weights& weights,
                                                    ThreadPool& pool) {
  return std::make_unique<VisionTransformer>(kernels, options, config, weights, pool);
}

}  // namespace gondola
