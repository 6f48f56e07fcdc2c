#include "checkpoint/infer_config.h"

#include <cmath>

#include "base/error.h"

namespace gondola {
namespace {

constexpr int openai_head_width = 64;

class Shapes {
 public:
  Shapes(const TensorMap& weights, const std::string& origin) : weights_(weights), origin_(origin) {}

  bool has(const std::string& name) const { return weights_.contains(name); }

  int extent(const std::string& name, std::size_t dimensions, std::size_t dimension) const {
    const auto found = weights_.find(name);
    if (found == weights_.end())
      fail("{}: has no weight {}, from which the architecture is inferred; name a configuration (--config)", origin_,
           name);
    const std::vector<std::int64_t>& shape = found->second.shape;
    constexpr std::int64_t most = 1 << 20;  // products of such sizes still fit an int
    if (shape.size() != dimensions || shape[dimension] > most)
      fail("{}: the weight {} has shape {}, expected {} dimensions of a sensible size", origin_, name,
           format_shape(shape), dimensions);
    return static_cast<int>(shape[dimension]);
  }

  /// The number of weights named prefix + "0", "1", … + suffix.
  int count(const std::string& prefix, const std::string& suffix) const {
    int number = 0;
    while (has(prefix + std::to_string(number) + suffix)) ++number;
    return number;
  }

  /// The side of the square grid of positions; one more position is the pooled token's.
  int grid(const std::string& name) const {
    const int positions = extent(name, 2, 0) - 1;
    const int side = static_cast<int>(std::lround(std::sqrt(std::max(positions, 0))));
    if (side * side != positions)
      fail("{}: {} has {} positions, expected a square number plus one", origin_, name, positions + 1);
    return side;
  }

 private:
  const TensorMap& weights_;
  const std::string& origin_;
};

ImageTowerConfig infer_vit(const Shapes& shapes) {
  ImageTowerConfig image;
  image.width = shapes.extent("visual.conv1.weight", 4, 0);
  image.patch_size = shapes.extent("visual.conv1.weight", 4, 3);
  image.image_size = image.patch_size * shapes.grid("visual.positional_embedding");
  image.layers = shapes.count("visual.transformer.resblocks.", ".attn.in_proj_weight");
  image.heads = image.width / openai_head_width;
  image.mlp_width = shapes.extent("visual.transformer.resblocks.0.mlp.c_fc.weight", 2, 0);
  return image;
}

ImageTowerConfig infer_resnet(const Shapes& shapes) {
  ImageTowerConfig image;
  image.architecture = ImageArchitecture::modified_resnet;
  image.width = shapes.extent("visual.layer1.0.conv1.weight", 4, 0);
  for (std::size_t stage = 0; stage < image.stage_blocks.size(); ++stage)
    image.stage_blocks[stage] = shapes.count("visual.layer" + std::to_string(stage + 1) + ".", ".conv1.weight");
  image.image_size = 32 * shapes.grid("visual.attnpool.positional_embedding");
  image.heads = image.width * 32 / openai_head_width;
  return image;
}

}  // namespace

ModelConfig infer_openai_config(const TensorMap& weights, const std::string& origin) {
  const Shapes shapes(weights, origin);
  ModelConfig config;
  config.name = origin;
  config.image = shapes.has("visual.proj") ? infer_vit(shapes) : infer_resnet(shapes);
  config.image.activation = Activation::quick_gelu;
  config.embed_dim = shapes.extent("text_projection", 2, 1);
  TextTowerConfig& text = config.text;
  text.context_length = shapes.extent("positional_embedding", 2, 0);
  text.vocab_size = shapes.extent("token_embedding.weight", 2, 0);
  text.width = shapes.extent("ln_final.weight", 1, 0);
  text.heads = text.width / openai_head_width;
  text.layers = shapes.count("transformer.resblocks.", ".attn.in_proj_weight");
  text.mlp_width = shapes.extent("transformer.resblocks.0.mlp.c_fc.weight", 2, 0);
  text.activation = Activation::quick_gelu;
  text.start_id = text.vocab_size - 2;
  text.end_id = text.vocab_size - 1;
  config.validate();
  return config;
}

}  // namespace gondola
