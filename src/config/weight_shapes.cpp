#include "config/weight_shapes.h"

namespace gondola {
namespace {

using Shape = std::vector<std::int64_t>;
using Shapes = std::map<std::string, Shape>;

void add_norm(Shapes& shapes, const std::string& name, std::int64_t width) {
  shapes[name + ".weight"] = shapes[name + ".bias"] = {width};
}

void add_linear(Shapes& shapes, const std::string& name, std::int64_t in, std::int64_t out) {
  shapes[name + ".weight"] = {out, in};
  shapes[name + ".bias"] = {out};
}

void add_transformer(Shapes& shapes, const std::string& prefix, std::int64_t width, std::int64_t mlp_width,
                     int layers) {
  for (int layer = 0; layer < layers; ++layer) {
    const std::string block = prefix + "transformer.resblocks." + std::to_string(layer) + ".";
    add_norm(shapes, block + "ln_1", width);
    shapes[block + "attn.in_proj_weight"] = {3 * width, width};
    shapes[block + "attn.in_proj_bias"] = {3 * width};
    add_linear(shapes, block + "attn.out_proj", width, width);
    add_norm(shapes, block + "ln_2", width);
    add_linear(shapes, block + "mlp.c_fc", width, mlp_width);
    add_linear(shapes, block + "mlp.c_proj", mlp_width, width);
  }
}

void add_vision_transformer(Shapes& shapes, const ImageTowerConfig& image, std::int64_t embed_dim) {
  const std::int64_t width = image.width;
  shapes["visual.conv1.weight"] = {width, 3, image.patch_size, image.patch_size};
  shapes["visual.class_embedding"] = {width};
  shapes["visual.positional_embedding"] = {image.tokens(), width};
  if (image.pre_norm) add_norm(shapes, "visual.ln_pre", width);
  add_transformer(shapes, "visual.", width, image.mlp_width, image.layers);
  add_norm(shapes, "visual.ln_post", width);
  shapes["visual.proj"] = {width, embed_dim};
}

/// A convolution without bias and the batch normalisation that follows it.
void add_convolution(Shapes& shapes, const std::string& prefix, const std::string& convolution, const std::string& norm,
                     std::int64_t in, std::int64_t out, std::int64_t kernel) {
  shapes[prefix + convolution + ".weight"] = {out, in, kernel, kernel};
  add_norm(shapes, prefix + norm, out);
  shapes[prefix + norm + ".running_mean"] = shapes[prefix + norm + ".running_var"] = {out};
}

void add_modified_resnet(Shapes& shapes, const ImageTowerConfig& image, std::int64_t embed_dim) {
  const std::int64_t width = image.width;
  add_convolution(shapes, "visual.", "conv1", "bn1", 3, width / 2, 3);
  add_convolution(shapes, "visual.", "conv2", "bn2", width / 2, width / 2, 3);
  add_convolution(shapes, "visual.", "conv3", "bn3", width / 2, width, 3);
  std::int64_t in = width;
  for (int stage = 0; stage < 4; ++stage) {
    const std::int64_t planes = width << stage;
    for (int block = 0; block < image.stage_blocks[static_cast<std::size_t>(stage)]; ++block) {
      const std::string prefix = "visual.layer" + std::to_string(stage + 1) + "." + std::to_string(block) + ".";
      add_convolution(shapes, prefix, "conv1", "bn1", in, planes, 1);
      add_convolution(shapes, prefix, "conv2", "bn2", planes, planes, 3);
      add_convolution(shapes, prefix, "conv3", "bn3", planes, 4 * planes, 1);
      if (block == 0) add_convolution(shapes, prefix, "downsample.0", "downsample.1", in, 4 * planes, 1);
      in = 4 * planes;
    }
  }
  const std::int64_t grid = image.image_size / 32;
  shapes["visual.attnpool.positional_embedding"] = {grid * grid + 1, in};
  for (const char* name : {"q_proj", "k_proj", "v_proj"})
    add_linear(shapes, std::string("visual.attnpool.") + name, in, in);
  add_linear(shapes, "visual.attnpool.c_proj", in, embed_dim);
}

void add_text(Shapes& shapes, const TextTowerConfig& text, std::int64_t embed_dim) {
  shapes["token_embedding.weight"] = {text.vocab_size, text.width};
  shapes["positional_embedding"] = {text.context_length, text.width};
  add_transformer(shapes, "", text.width, text.mlp_width, text.layers);
  add_norm(shapes, "ln_final", text.width);
  shapes["text_projection"] = {text.width, embed_dim};
  if (text.projection_bias) shapes["text_projection_bias"] = {embed_dim};
}

}  // namespace

std::map<std::string, std::vector<std::int64_t>> weight_shapes(const ModelConfig& config) {
  Shapes shapes;
  if (config.image.architecture == ImageArchitecture::vit) {
    add_vision_transformer(shapes, config.image, config.embed_dim);
  } else {
    add_modified_resnet(shapes, config.image, config.embed_dim);
  }
  add_text(shapes, config.text, config.embed_dim);
  return shapes;
}

}  // namespace gondola
