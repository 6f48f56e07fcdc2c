#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace gondola {

enum class Activation {
  gelu,        ///< x·Φ(x), with erf
  gelu_tanh,   ///< its tanh approximation
  quick_gelu,  ///< x·σ(1.702x), used by OpenAI's models
};

/// Whose folder layout a model uses.
enum class Family { open_clip, hugging_face };

enum class ImageArchitecture { vit, modified_resnet };

/// How a ViT's tokens become one vector.
enum class ImagePooling { class_token, average };

/// The position whose vector represents the text.
enum class TextPooling {
  largest_id,  ///< the first largest id: OpenAI's argmax, correct if the end token has the largest id
  end_token,   ///< the first end_id (open_clip's "eos", transformers where eos_token_id != 2)
  last,        ///< the last position
  first,       ///< position 0
};

struct ImageTowerConfig {
  ImageArchitecture architecture = ImageArchitecture::vit;
  int image_size = 224;  ///< height and width in pixels
  int width = 768;       ///< ViT: of the tokens; ModifiedResNet: of the stem (64 for RN50)
  int heads = 12;        ///< ModifiedResNet: of the attention pooling, width·32/64
  Activation activation = Activation::gelu;
  // ViT only:
  int patch_size = 32;
  int layers = 12;
  int mlp_width = 3072;
  double norm_eps = 1e-5;
  bool pre_norm = true;  ///< LayerNorm before the first block (ln_pre)
  ImagePooling pooling = ImagePooling::class_token;
  bool final_norm_after_pooling = false;  ///< matters only for average pooling: taking the class token commutes with it
  // ModifiedResNet only:
  std::array<int, 4> stage_blocks = {3, 4, 6, 3};

  /// Tokens of a ViT, the class token included.
  int tokens() const { return (image_size / patch_size) * (image_size / patch_size) + 1; }
  /// Width of the features before the projection.
  int feature_width() const { return architecture == ImageArchitecture::vit ? width : width * 32; }
  bool operator==(const ImageTowerConfig&) const = default;
};

/// Size of the vocabulary that OpenAI's and most other models share.
inline constexpr int openai_vocab_size = 49408;

struct TextTowerConfig {
  int context_length = 77;
  int vocab_size = openai_vocab_size;
  int width = 512;
  int heads = 8;
  int layers = 12;
  int mlp_width = 2048;
  Activation activation = Activation::gelu;
  double norm_eps = 1e-5;
  bool causal = true;
  TextPooling pooling = TextPooling::largest_id;
  int start_id = 49406;
  int end_id = 49407;
  int pad_id = 0;
  bool projection_bias = false;
  bool operator==(const TextTowerConfig&) const = default;
};

/// Everything that determines what a CLIP model computes, except its weights. The open_clip reader refuses a file with
/// a field that would change the result and has no counterpart here; the Hugging Face reader reads the fields that
/// CLIPConfig knows, as transformers does.
struct ModelConfig {
  std::string name;  ///< for messages only: "ViT-B-32", a folder's name
  int embed_dim = 512;
  ImageTowerConfig image;
  TextTowerConfig text;
  bool sigmoid_loss = false;  ///< a pair's score is a sigmoid of scale·cosine + bias, instead of a softmax over texts

  /// Throws Error if a value is out of range or two do not fit each other (width and heads, image and patch size …).
  void validate() const;
};

struct ParameterCount {
  std::int64_t image = 0, text = 0;
  std::int64_t total = 0;  ///< with logit_scale and, for the sigmoid loss, logit_bias
};
ParameterCount count_parameters(const ModelConfig& config);

/// Floating-point operations of the forward pass of one item, over all tokens and all context positions. A
/// multiplication and an addition count as two (as in open_clip's docs/model_profile.csv).
struct ForwardFlops {
  double image = 0, text = 0;
};
ForwardFlops count_forward_flops(const ModelConfig& config);

/// The same for a pass over `text_tokens` tokens of a text that computes only what the pooled token needs in a
/// transformer's last layer.
ForwardFlops count_needed_flops(const ModelConfig& config, int text_tokens);

/// The configuration of an open_clip name ("ViT-B-32", "RN50", "ViT-B-32-quickgelu", "tiny-test"). Throws Error with a
/// list of the known names for any other name.
ModelConfig preset(const std::string& name);

}  // namespace gondola
