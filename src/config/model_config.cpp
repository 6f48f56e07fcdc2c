#include "config/model_config.h"

#include <functional>
#include <map>
#include <numeric>
#include <ranges>
#include <string>

#include "base/error.h"
#include "config/weight_shapes.h"

namespace gondola {
namespace {

/// The model of a recipe may have no name.
std::string title(const ModelConfig& config) {
  return config.name.empty() ? "model" : "model " + config.name;
}

void check_range(const ModelConfig& config, const char* field, std::int64_t value, std::int64_t low,
                 std::int64_t high) {
  if (value < low || value > high) fail("{}: {} is {}, expected {} to {}", title(config), field, value, low, high);
}

constexpr std::int64_t largest_width = 1 << 16;

void validate_image(const ModelConfig& config) {
  const ImageTowerConfig& image = config.image;
  check_range(config, "image size", image.image_size, 1, 1 << 14);
  check_range(config, "image tower width", image.width, 1, largest_width);
  check_range(config, "image tower heads", image.heads, 1, image.feature_width());
  if (image.feature_width() % image.heads != 0)
    fail("{}: image tower of width {} does not divide into {} heads", title(config), image.feature_width(),
         image.heads);
  if (image.architecture == ImageArchitecture::modified_resnet) {
    if (image.width % 2 != 0) fail("{}: ModifiedResNet width {} is odd", title(config), image.width);
    if (image.image_size % 32 != 0)
      fail("{}: image size {} is not a multiple of 32, as a ModifiedResNet needs", title(config), image.image_size);
    for (int blocks : image.stage_blocks) check_range(config, "blocks of a stage", blocks, 1, 256);
    return;
  }
  check_range(config, "patch size", image.patch_size, 1, image.image_size);
  check_range(config, "image tower layers", image.layers, 1, 256);
  check_range(config, "image tower MLP width", image.mlp_width, 1, 4 * largest_width);
}

void validate_text(const ModelConfig& config) {
  const TextTowerConfig& text = config.text;
  check_range(config, "context length", text.context_length, 2, 1 << 14);
  check_range(config, "vocabulary size", text.vocab_size, 3, 1 << 24);
  check_range(config, "text tower width", text.width, 1, largest_width);
  check_range(config, "text tower heads", text.heads, 1, text.width);
  if (text.width % text.heads != 0)
    fail("{}: text tower of width {} does not divide into {} heads", title(config), text.width, text.heads);
  check_range(config, "text tower layers", text.layers, 1, 256);
  check_range(config, "text tower MLP width", text.mlp_width, 1, 4 * largest_width);
  check_range(config, "start token", text.start_id, 0, text.vocab_size - 1);
  check_range(config, "end token", text.end_id, 0, text.vocab_size - 1);
  check_range(config, "padding token", text.pad_id, 0, text.vocab_size - 1);
}

/// Linear layers, and the two products of attention over all tokens.
double transformer_flops(double layers, double tokens, double width, double mlp_width) {
  const double linear = 2 * tokens * (4 * width * width + 2 * width * mlp_width);
  return layers * (linear + 4 * tokens * tokens * width);
}

/// The convolutions of a ModifiedResNet at the resolution they run at.
double resnet_flops(const ImageTowerConfig& image, std::int64_t embed_dim) {
  double flops = 0;
  const auto convolution = [&](std::int64_t in, std::int64_t out, int kernel, std::int64_t side) {
    flops += 2.0 * static_cast<double>(in * out * kernel * kernel) * static_cast<double>(side * side);
  };
  const std::int64_t width = image.width;
  std::int64_t side = image.image_size / 2;
  convolution(3, width / 2, 3, side);
  convolution(width / 2, width / 2, 3, side);
  convolution(width / 2, width, 3, side);
  side /= 2;
  std::int64_t channels = width;
  for (std::size_t stage = 0; stage < image.stage_blocks.size(); ++stage) {
    const std::int64_t planes = width << stage;
    for (int block = 0; block < image.stage_blocks[stage]; ++block) {
      const bool downsamples = stage > 0 && block == 0;
      convolution(channels, planes, 1, side);
      convolution(planes, planes, 3, side);
      if (downsamples) side /= 2;
      convolution(planes, 4 * planes, 1, side);
      if (block == 0) convolution(channels, 4 * planes, 1, side);
      channels = 4 * planes;
    }
  }
  // Attention pooling: keys and values of every token, the query and output of one.
  const std::int64_t tokens = side * side + 1;
  const double square = static_cast<double>(channels) * static_cast<double>(channels);
  return flops + 2 * square * (2.0 * static_cast<double>(tokens) + 1) + 4.0 * static_cast<double>(tokens * channels) +
         2.0 * static_cast<double>(channels * embed_dim);
}

double vit_flops(const ImageTowerConfig& image, std::int64_t embed_dim) {
  const std::int64_t width = image.width, tokens = image.tokens();
  const std::int64_t patch_values = std::int64_t{3} * image.patch_size * image.patch_size;
  return 2.0 * static_cast<double>(patch_values * width * (tokens - 1)) +
         transformer_flops(image.layers, static_cast<double>(tokens), static_cast<double>(width), image.mlp_width) +
         2.0 * static_cast<double>(width * embed_dim);
}

double text_flops(const TextTowerConfig& text, std::int64_t embed_dim) {
  return transformer_flops(text.layers, text.context_length, text.width, text.mlp_width) +
         2.0 * static_cast<double>(text.width * embed_dim);
}

/// What the last layer need not compute: queries, attention, its output and the MLP of all tokens but the pooled one.
double unneeded_flops(int tokens, double width, double mlp_width) {
  return (tokens - 1) * (4 * width * width + 4 * width * mlp_width + 4 * tokens * width);
}

ModelConfig vit(int embed_dim, int image_size, int patch_size, int width, int layers, int heads, int text_width,
                int text_layers = 12) {
  ModelConfig config;
  config.embed_dim = embed_dim;
  config.image.image_size = image_size;
  config.image.patch_size = patch_size;
  config.image.width = width;
  config.image.layers = layers;
  config.image.heads = heads;
  config.image.mlp_width = 4 * width;
  config.text.width = text_width;
  config.text.heads = text_width / 64;
  config.text.mlp_width = 4 * text_width;
  config.text.layers = text_layers;
  return config;
}

ModelConfig resnet(int embed_dim, int image_size, std::array<int, 4> stage_blocks, int width, int text_width) {
  ModelConfig config = vit(embed_dim, image_size, 32, width, 12, width * 32 / 64, text_width);
  config.image.architecture = ImageArchitecture::modified_resnet;
  config.image.mlp_width = ImageTowerConfig().mlp_width;  // a ViT's, unused here
  config.image.stage_blocks = stage_blocks;
  return config;
}

/// Small enough that a test trains it in seconds.
ModelConfig tiny(ModelConfig config) {
  config.text.context_length = 16;
  config.text.vocab_size = 300;
  config.text.start_id = 298;
  config.text.end_id = 299;
  config.text.heads = 2;
  config.image.heads = 2;
  return config;
}

const std::map<std::string, ModelConfig>& presets() {
  static const std::map<std::string, ModelConfig> table = {
      {"ViT-B-32", vit(512, 224, 32, 768, 12, 12, 512)},
      {"ViT-B-16", vit(512, 224, 16, 768, 12, 12, 512)},
      {"ViT-L-14", vit(768, 224, 14, 1024, 24, 16, 768)},
      {"ViT-L-14-336", vit(768, 336, 14, 1024, 24, 16, 768)},
      {"ViT-H-14", vit(1024, 224, 14, 1280, 32, 16, 1024, 24)},
      {"RN50", resnet(1024, 224, {3, 4, 6, 3}, 64, 512)},
      {"RN101", resnet(512, 224, {3, 4, 23, 3}, 64, 512)},
      {"RN50x4", resnet(640, 288, {4, 6, 10, 6}, 80, 640)},
      {"RN50x16", resnet(768, 384, {6, 8, 18, 8}, 96, 768)},
      {"RN50x64", resnet(1024, 448, {3, 15, 36, 10}, 128, 1024)},
      {"tiny-test", tiny(vit(32, 32, 8, 32, 2, 2, 32, 2))},
      {"tiny-test-resnet", tiny(resnet(32, 64, {1, 1, 1, 1}, 8, 32))},
  };
  return table;
}

}  // namespace

void ModelConfig::validate() const {
  check_range(*this, "embedding size", embed_dim, 1, largest_width);
  validate_image(*this);
  validate_text(*this);
}

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  for (const auto& [name, shape] : weight_shapes(config)) {
    if (name.find(".running_") != std::string::npos) continue;  // statistics of a batch normalisation
    (name.starts_with("visual.") ? count.image : count.text) +=
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  }
  count.total = count.image + count.text + 1 + (config.sigmoid_loss ? 1 : 0);
  return count;
}

ForwardFlops count_forward_flops(const ModelConfig& config) {
  const ImageTowerConfig& image = config.image;
  return {image.architecture == ImageArchitecture::vit ? vit_flops(image, config.embed_dim)
                                                       : resnet_flops(image, config.embed_dim),
          text_flops(config.text, config.embed_dim)};
}

ForwardFlops count_needed_flops(const ModelConfig& config, int text_tokens) {
  const ImageTowerConfig& image = config.image;
  ModelConfig shorter = config;
  shorter.text.context_length = text_tokens;
  ForwardFlops flops = count_forward_flops(shorter);
  if (image.architecture == ImageArchitecture::vit && image.pooling == ImagePooling::class_token)
    flops.image -= unneeded_flops(image.tokens(), image.width, image.mlp_width);
  flops.text -= unneeded_flops(text_tokens, config.text.width, config.text.mlp_width);
  return flops;
}

ModelConfig preset(const std::string& name) {
  constexpr std::string_view quick_suffix = "-quickgelu";
  const bool quick = name.ends_with(quick_suffix);
  const std::string base = quick ? name.substr(0, name.size() - quick_suffix.size()) : name;
  const auto found = presets().find(base);
  if (found == presets().end())
    fail("unknown model \"{}\"; known are {}, each also with {}", name, fmt::join(std::views::keys(presets()), ", "),
         quick_suffix);
  ModelConfig config = found->second;
  config.name = name;
  if (quick) config.image.activation = config.text.activation = Activation::quick_gelu;
  return config;
}

}  // namespace gondola
