#pragma once

#include <gondola/error.h>
#include <gondola/export.h>
#include <gondola/image.h>
#include <gondola/tokenizer.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gondola {

class LoadedModel;
class ZeroShotClassifier;

struct ModelOptions {
  /// An open_clip model configuration, for a bare state dict that does not tell its architecture.
  std::optional<std::filesystem::path> config = {};
  /// A vocabulary, in place of the one beside the model.
  std::optional<std::filesystem::path> vocabulary = {};
  int threads = 0;  ///< 0: one for each processor that the program may use
  /// "cpu", or "cuda", "cuda:1" for libtorch's towers on a GPU, where Gondola was built with PyTorch.
  std::string device = "cpu";
  /// Of the towers' linear layers: "fp32", "bf16", "int8", or "auto": bf16 on a GPU, which has no int8; on the CPU int8
  /// for a model that `gondola quantize` wrote, else bf16 where the processor has it, else fp32. There a ModifiedResNet
  /// is computed in fp32 whatever is asked for.
  std::string precision = "auto";
};

struct ScoredLabel {
  std::string label;
  double score = 0;  ///< from 0 to 1
};

/// A zero-shot classifier: labels put into templates and encoded once, for any number of images. It shares its model.
/// One that was moved from may only be assigned to or destroyed.
class GONDOLA_API Classifier {
 public:
  /// All labels, best first. The scores of a model trained with the softmax loss add up to 1. Throws Error when the
  /// image cannot be read.
  std::vector<ScoredLabel> classify(const ImageInput& image) const;

  /// The same scores for n embeddings of the model's, as embed_images gives them (several images at a time are encoded
  /// faster): n × labels values, in the order in which the labels were given. Throws Error for another number of values
  /// than n × embed_dim.
  std::vector<double> scores(std::span<const float> embeddings) const;

 private:
  friend class Model;
  Classifier(std::shared_ptr<LoadedModel> model, std::shared_ptr<const ZeroShotClassifier> classifier);
  std::shared_ptr<LoadedModel> model_;
  std::shared_ptr<const ZeroShotClassifier> classifier_;
};

/// A CLIP model: images and texts to vectors of one space. Copies share the weights. Not thread-safe: one call at a
/// time on a model, its copies and its classifiers; a call uses all the model's threads, which a forked process has
/// not: it loads its own, and lets its parent's be. One that was moved from may only be assigned to or destroyed.
class GONDOLA_API Model {
 public:
  /// Reads a model: a folder (Hugging Face or open_clip layout), a file (.pt, .pth, .bin, .safetensors) or a name that
  /// the local caches resolve: OpenAI's ("ViT-B/32"), Hugging Face's ("openai/clip-vit-base-patch32") or open_clip's
  /// ("ViT-B-32/laion2b_s34b_b79k"). Nothing is downloaded. The model that `gondola` has without --model is the folder
  /// "default" in Gondola_MODELS_DIR, which CMake's find_package sets. Throws Error.
  static Model load(const std::string& name_or_path, const ModelOptions& options = {});

  /// Values in an embedding.
  std::size_t embed_dim() const;
  /// Height and width in pixels of what the image tower sees.
  int image_size() const;
  /// Tokens of a text, start and end included.
  int context_length() const;

  /// Embeddings of length 1, so that a dot product is the cosine; of several inputs n × embed_dim values. On a CPU an
  /// embedding depends on its own input alone, bit for bit. What is not UTF-8 in a text counts as U+FFFD. Throws Error
  /// for an image that cannot be read, and for a text longer than the context unless it is to be cut (`truncate`).
  std::vector<float> embed_image(const ImageInput& image) const;
  std::vector<float> embed_images(std::span<const ImageInput> images) const;
  std::vector<float> embed_text(const std::string& text, bool truncate = false) const;
  std::vector<float> embed_texts(std::span<const std::string> texts, bool truncate = false) const;

  /// A classifier by labels alone, all that are given, as they are; every template has "{}" where the label goes.
  /// Without templates: "a photo of a {}." Throws Error without labels, for a template without "{}", and for a text
  /// longer than the context.
  Classifier classifier(std::span<const std::string> labels, std::span<const std::string> templates = {}) const;

  /// The model's tokenizer. Throws Error when it has no vocabulary.
  Tokenizer tokenizer() const;

 private:
  explicit Model(std::shared_ptr<LoadedModel> model);
  std::shared_ptr<LoadedModel> model_;
};

}  // namespace gondola
