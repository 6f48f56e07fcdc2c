#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/image_tower.h"
#include "engine/linear.h"
#include "engine/workspace.h"
#include "kernels/attention.h"
#include "kernels/convolution.h"

namespace gondola {
namespace {

/// Images in NHWC order.
struct FeatureShape {
  std::size_t images = 0, height = 0, width = 0, channels = 0;
  std::size_t pixels() const { return images * height * width; }
  FeatureShape with_channels(std::size_t count) const { return {images, height, width, count}; }
  FeatureShape halved() const { return {images, height / 2, width / 2, channels}; }
};

/// The order of a patch's values: PyTorch's [in][ky][kx], or [ky][kx][in], in which NHWC images store them.
enum class PatchOrder { channels_first, channels_last };

/// Folds a convolution and the batch normalisation after it into a linear layer on patches of kernel² · in values.
Linear folded_convolution(const Kernels& kernels, const Weights& weights, const std::string& convolution,
                          const std::string& norm, std::size_t in, std::size_t out, std::size_t kernel,
                          PatchOrder order) {
  const FloatArray weight = weights[convolution + ".weight"];
  const FloatArray gamma = weights[norm + ".weight"], beta = weights[norm + ".bias"];
  const FloatArray mean = weights[norm + ".running_mean"], variance = weights[norm + ".running_var"];
  const std::size_t area = kernel * kernel;
  std::vector<float> folded(weight.size()), bias(out);
  for (std::size_t o = 0; o < out; ++o) {
    constexpr double eps = 1e-5;  // torch.nn.BatchNorm2d's default
    const double scale = gamma.data()[o] / std::sqrt(variance.data()[o] + eps);
    bias[o] = static_cast<float>(beta.data()[o] - mean.data()[o] * scale);
    for (std::size_t i = 0; i < in; ++i) {
      for (std::size_t tap = 0; tap < area; ++tap) {
        const std::size_t at = order == PatchOrder::channels_last ? tap * in + i : i * area + tap;
        folded[o * in * area + at] = static_cast<float>(weight.data()[(o * in + i) * area + tap] * scale);
      }
    }
  }
  return Linear(kernels, Precision::fp32, folded, bias, in * area, out);
}

/// A 1×1 convolution; adds the residual, if there is one, before the epilogue (ReLU or none).
void convolve_1x1(const Team& team, const Linear& convolution, std::size_t pixels, std::size_t in, const float* input,
                  float* output, Epilogue epilogue, const float* residual = nullptr) {
  const std::size_t out = convolution.out();
  convolution.apply(team, pixels, {input, in}, {output, out}, epilogue, {residual, out});
}

void convolve_3x3(const Team& team, const Kernels& kernels, const Linear& convolution, const FeatureShape& shape,
                  const float* zeros, const float* input, float* output) {
  const WorkSplit mine = split_product(team, shape.pixels(), convolution.panels());
  ConvolutionArguments c;
  c.height = shape.height;
  c.width = shape.width;
  c.in_channels = shape.channels;
  c.in = input;
  c.zeros = zeros;
  c.weight = convolution.packed();
  c.bias = convolution.bias();
  c.epilogue = Epilogue::relu;
  c.out = output;
  c.first_pixel = mine.rows.first;
  c.last_pixel = mine.rows.last;
  c.first_panel = mine.panels.first;
  c.last_panel = mine.panels.last;
  convolve_3x3(kernels, c);
}

void average_pool(const Team& team, const FeatureShape& shape, const float* input, float* output) {
  const Range mine = team.share(shape.images * (shape.height / 2));
  average_pool_2x2({shape.height, shape.width, shape.channels, input, output, mine.first, mine.last});
}

/// OpenAI clip/model.py, Bottleneck: average pooling before the last convolution and the shortcut's does the striding.
struct Bottleneck {
  Bottleneck() = default;
  Bottleneck(const Kernels& kernels, const Weights& weights, std::size_t in, std::size_t inner, bool strided)
      : planes(inner), downsamples(strided), has_projection_shortcut(weights.contains("downsample.0.weight")) {
    constexpr auto order = PatchOrder::channels_last;
    reduce = folded_convolution(kernels, weights, "conv1", "bn1", in, planes, 1, order);
    spatial = folded_convolution(kernels, weights, "conv2", "bn2", planes, planes, 3, order);
    expand = folded_convolution(kernels, weights, "conv3", "bn3", planes, 4 * planes, 1, order);
    if (has_projection_shortcut)
      shortcut = folded_convolution(kernels, weights, "downsample.0", "downsample.1", in, 4 * planes, 1, order);
  }

  std::size_t planes = 0;
  bool downsamples = false, has_projection_shortcut = false;
  Linear reduce, spatial, expand, shortcut;
};

class ModifiedResNet : public ImageTower {
 public:
  ModifiedResNet(const Kernels& kernels, const ModelConfig& config, const Weights& weights, ThreadPool& pool)
      : kernels_(kernels), config_(config.image), embed_dim_(static_cast<std::size_t>(config.embed_dim)) {
    pack_convolutions(weights, pool);
    pack_attention_pooling(weights.below("attnpool"), pool);
    zeros_.assign(features(), 0.0f);
  }

  std::size_t preferred_batch_size() const override {
    // The last stage has the fewest rows and the most weights.
    constexpr std::size_t rows = 98;
    return std::max<std::size_t>(1, rows / (grid() * grid()));
  }

  std::size_t workspace_size(std::size_t threads, std::size_t images) const override {
    Workspace counter;
    Buffers(counter, *this, threads, images);
    return counter.used();
  }

  void forward(const Team& team, float* memory, const float* pixels, std::size_t images,
               float* embeddings) const override {
    Workspace workspace(memory);
    Buffers buffers(workspace, *this, team.size(), images);
    FeatureShape shape = stem(team, buffers, pixels, images);
    for (const Bottleneck& block : blocks_) shape = bottleneck(team, buffers, block, shape);
    pool_by_attention(team, buffers, shape, embeddings);
  }

 private:
  /// `current` holds the features between two blocks.
  struct Buffers {
    Buffers(Workspace& workspace, const ModifiedResNet& tower, std::size_t threads, std::size_t images) {
      const std::size_t largest = images * tower.largest_features();
      for (float** buffer : {&current, &first, &second, &pooled, &shortcut}) *buffer = workspace.take(largest);
      const std::size_t rows = images * (tower.grid() * tower.grid() + 1), width = tower.features();
      tokens = workspace.take(rows * width);
      keys_values = workspace.take(rows * 2 * width);
      queries = workspace.take(images * width);
      attended = workspace.take(images * width);
      scratch_size = attention_scratch_size(tower.kernels_, tower.grid() * tower.grid() + 1, width / tower.heads());
      scratch = workspace.take(threads * scratch_size);
    }

    float *current, *first, *second, *pooled, *shortcut;
    float *tokens, *keys_values, *queries, *attended, *scratch;
    std::size_t scratch_size;
  };

  std::size_t width() const { return static_cast<std::size_t>(config_.width); }
  std::size_t heads() const { return static_cast<std::size_t>(config_.heads); }
  std::size_t size() const { return static_cast<std::size_t>(config_.image_size); }
  std::size_t grid() const { return size() / 32; }
  std::size_t features() const { return width() * 32; }

  /// The largest number of values of an image between two layers: in the stem, in its patches or in the first stage.
  std::size_t largest_features() const {
    const std::size_t half = (size() + 1) / 2, quarter = half / 2;
    return std::max({half * half * width(), half * half * 27, quarter * quarter * 4 * width()});
  }

  void pack_convolutions(const Weights& weights, ThreadPool& pool) {
    using enum PatchOrder;
    stem_[0] = folded_convolution(kernels_, weights, "conv1", "bn1", 3, width() / 2, 3, channels_first);
    stem_[1] = folded_convolution(kernels_, weights, "conv2", "bn2", width() / 2, width() / 2, 3, channels_last);
    stem_[2] = folded_convolution(kernels_, weights, "conv3", "bn3", width() / 2, width(), 3, channels_last);
    std::vector<std::pair<std::size_t, int>> places;
    for (std::size_t stage = 0; stage < 4; ++stage)
      for (int block = 0; block < config_.stage_blocks[stage]; ++block) places.emplace_back(stage, block);
    blocks_.resize(places.size());
    pool.parallel_for(places.size(), [&](std::size_t i, int) {
      const auto [stage, block] = places[i];
      const std::size_t planes = width() << stage;
      const std::size_t in = block > 0 ? 4 * planes : stage == 0 ? width() : 2 * planes;
      blocks_[i] = Bottleneck(kernels_, weights.below("layer" + std::to_string(stage + 1)).below(std::to_string(block)),
                              in, planes, block == 0 && stage > 0);
    });
  }

  void pack_attention_pooling(const Weights& weights, ThreadPool& pool) {
    const FloatArray positions = weights["positional_embedding"];
    positions_.assign(positions.values().begin(), positions.values().end());
    const float scale = 1 / std::sqrt(static_cast<float>(features() / heads()));
    const auto pack = [&](Linear& linear, const std::string& name, std::size_t out, float factor) {
      linear = Linear(kernels_, Precision::fp32, weights[name + ".weight"].values(), weights[name + ".bias"].values(),
                      features(), out, factor);
    };
    pool.parallel_for(4, [&](std::size_t i, int) {
      if (i == 0) pack(query_, "q_proj", features(), scale);
      if (i == 1) pack(key_, "k_proj", features(), 1);
      if (i == 2) pack(value_, "v_proj", features(), 1);
      if (i == 3) pack(projection_, "c_proj", embed_dim_, 1);
    });
  }

  /// Three convolutions, the first with stride 2, and an average pooling: pixels → current.
  FeatureShape stem(const Team& team, const Buffers& b, const float* pixels, std::size_t images) const {
    PatchArguments patches = {3, size(), size(), 3, 2, 1, nullptr, nullptr, 27, 0, 0};
    FeatureShape shape = {images, patches.out_height(), patches.out_width(), width() / 2};
    const std::size_t rows = shape.height * shape.width;
    for (std::size_t image = 0; image < images; ++image) {
      const Range mine = team.share(rows);
      patches.in = pixels + image * 3 * size() * size();
      patches.out = b.first + image * rows * 27;
      patches.first_row = mine.first;
      patches.last_row = mine.last;
      gather_patches(patches);
    }
    team.wait();
    convolve_1x1(team, stem_[0], shape.pixels(), 27, b.first, b.second, Epilogue::relu);
    team.wait();
    convolve_3x3(team, kernels_, stem_[1], shape, zeros_.data(), b.second, b.first);
    team.wait();
    convolve_3x3(team, kernels_, stem_[2], shape, zeros_.data(), b.first, b.second);
    team.wait();
    shape = shape.with_channels(width());
    average_pool(team, shape, b.second, b.current);
    team.wait();
    return shape.halved();
  }

  /// current → current; returns the new shape.
  FeatureShape bottleneck(const Team& team, Buffers& b, const Bottleneck& block, const FeatureShape& in) const {
    const FeatureShape inner = in.with_channels(block.planes);
    const FeatureShape out = (block.downsamples ? in.halved() : in).with_channels(4 * block.planes);
    convolve_1x1(team, block.reduce, in.pixels(), in.channels, b.current, b.first, Epilogue::relu);
    if (block.downsamples) average_pool(team, in, b.current, b.pooled);
    team.wait();
    convolve_3x3(team, kernels_, block.spatial, inner, zeros_.data(), b.first, b.second);
    const float* residual = b.current;
    if (block.has_projection_shortcut) {
      convolve_1x1(team, block.shortcut, out.pixels(), in.channels, block.downsamples ? b.pooled : b.current,
                   b.shortcut, Epilogue::none);
      residual = b.shortcut;
    }
    team.wait();
    const float* narrow = b.second;
    if (block.downsamples) {
      average_pool(team, inner, b.second, b.first);
      narrow = b.first;
      team.wait();
    }
    convolve_1x1(team, block.expand, out.pixels(), block.planes, narrow, b.pooled, Epilogue::relu, residual);
    team.wait();
    std::swap(b.current, b.pooled);
    return out;
  }

  /// OpenAI clip/model.py, AttentionPool2d: the mean token is the only query; all tokens are keys and values.
  void pool_by_attention(const Team& team, const Buffers& b, const FeatureShape& shape, float* embeddings) const {
    const std::size_t positions = shape.height * shape.width, length = positions + 1, channels = shape.channels;
    const Range mine = team.share(shape.images);
    for (std::size_t image = mine.first; image < mine.last; ++image)
      add_mean_token(b.current + image * positions * channels, positions, b.tokens + image * length * channels);
    team.wait();
    key_.apply(team, shape.images * length, {b.tokens, channels}, {b.keys_values, 2 * channels});
    value_.apply(team, shape.images * length, {b.tokens, channels}, {b.keys_values + channels, 2 * channels});
    query_.apply(team, shape.images, {b.tokens, length * channels}, {b.queries, channels});
    team.wait();
    const std::size_t head_width = channels / heads();
    const Range tasks = team.share(shape.images * heads());
    for (std::size_t i = tasks.first; i < tasks.last; ++i) {
      const std::size_t image = i / heads(), column = i % heads() * head_width;
      AttentionArguments a;
      a.queries = 1;
      a.keys = length;
      a.head_width = head_width;
      a.q = b.queries + image * channels + column;
      a.q_stride = channels;
      a.k = b.keys_values + image * length * 2 * channels + column;
      a.v = b.keys_values + image * length * 2 * channels + channels + column;
      a.kv_stride = 2 * channels;
      a.out = {b.attended + image * channels + column, channels};
      a.scratch = b.scratch + team.rank() * b.scratch_size;
      attention(kernels_, a);
    }
    team.wait();
    projection_.apply(team, shape.images, {b.attended, channels}, {embeddings, embed_dim_});
  }

  /// Writes the mean of the positions, then the positions themselves, each plus its positional embedding.
  void add_mean_token(const float* in, std::size_t positions, float* tokens) const {
    const std::size_t channels = features();
    std::fill_n(tokens, channels, 0.0f);
    for (std::size_t position = 0; position < positions; ++position)
      for (std::size_t c = 0; c < channels; ++c) tokens[c] += in[position * channels + c];
    for (std::size_t c = 0; c < channels; ++c) tokens[c] = tokens[c] / static_cast<float>(positions) + positions_[c];
    for (std::size_t i = 0; i < positions * channels; ++i) tokens[channels + i] = in[i] + positions_[channels + i];
  }

  const Kernels& kernels_;
  ImageTowerConfig config_;
  std::size_t embed_dim_;
  Linear stem_[3];
  std::vector<Bottleneck> blocks_;
  Linear query_, key_, value_, projection_;
  std::vector<float> positions_, zeros_;
};

}  // namespace

std::unique_ptr<ImageTower> make_modified_resnet(const Kernels& kernels, const ModelConfig& config,
                                                 const Weights& weights, ThreadPool& pool) {
  return std::make_unique<ModifiedResNet>(kernels, config, weights, pool);
}

}  // namespace gondola
