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
  /// An open_clip model configuration, for a file of weights that does not describe its model (a bare state dict).
  std::optional<std::filesystem::path> config = {};
  /// A vocabulary to use instead of the one beside the model.
  std::optional<std::filesystem::path> vocabulary = {};
  int threads = 0;  ///< 0: one per processor that the program may use
  /// "cpu"; or "cuda" or "cuda:1", to run the towers on a GPU by libtorch, if Gondola was built with PyTorch.
  std::string device = "cpu";
  /// Precision of the towers' linear layers: "fp32", "bf16", "int8" or "auto". "auto" is bf16 on a GPU, where int8 is
  /// not supported; on the CPU it is int8 for a model that `gondola quantize` wrote, else bf16 if the processor
  /// supports it, else fp32. On the CPU a ModifiedResNet always runs in fp32.
  std::string precision = "auto";
};

struct ScoredLabel {
  std::string label;
  double score = 0;  ///< from 0 to 1
};

/// A zero-shot classifier: the labels are put into the templates and encoded once, for any number of images. It shares
/// the model that made it. A moved-from classifier may only be assigned to or destroyed.
class GONDOLA_API Classifier {
 public:
  /// All labels with their scores, best first. The scores of a model trained with the softmax loss add up to 1. Throws
  /// Error if the image cannot be read.
  std::vector<ScoredLabel> classify(const ImageInput& image) const;

  /// The same scores for n images, from their embeddings as this model's embed_images returns them (encoding several
  /// images together is faster): n × labels values, in the order in which the labels were given. Throws Error if the
  /// number of values is not a multiple of embed_dim.
  std::vector<double> scores(std::span<const float> embeddings) const;

 private:
  friend class Model;
  Classifier(std::shared_ptr<LoadedModel> model, std::shared_ptr<const ZeroShotClassifier> classifier);
  std::shared_ptr<LoadedModel> model_;
  std::shared_ptr<const ZeroShotClassifier> classifier_;
};

/// A CLIP model, which maps images and texts to vectors of one space. Copies share the weights. Not thread-safe: make
/// one call at a time on a model, its copies and its classifiers; each call uses all the model's threads. A forked
/// process does not inherit those threads: it must load a model of its own. A moved-from model may only be assigned to
/// or destroyed.
class GONDOLA_API Model {
 public:
  /// Loads a model: a folder (Hugging Face or open_clip layout), a file (.pt, .pth, .bin, .safetensors) or the name of
  /// a model in the local caches: OpenAI's ("ViT-B/32"), Hugging Face's ("openai/clip-vit-base-patch32") or open_clip's
  /// ("ViT-B-32/laion2b_s34b_b79k"). Nothing is downloaded. The model that `gondola` uses without --model is the folder
  /// "default" in Gondola_MODELS_DIR, which CMake's find_package sets. Throws Error if the model cannot be loaded.
  static Model load(const std::string& name_or_path, const ModelOptions& options = {});

  /// Number of values in an embedding.
  std::size_t embed_dim() const;
  /// Height and width of the image tower's input, in pixels.
  int image_size() const;
  /// The most tokens that a text may have, start and end included.
  int context_length() const;

  /// Embeddings of length 1, so that the dot product of two is their cosine: n × embed_dim values for n inputs. On a
  /// CPU an embedding depends on its own input alone, bit for bit. Invalid UTF-8 in a text is replaced by U+FFFD.
  /// Throws Error if an image cannot be read, or if a text is longer than the context, unless `truncate` cuts it.
  std::vector<float> embed_image(const ImageInput& image) const;
  std::vector<float> embed_images(std::span<const ImageInput> images) const;
  std::vector<float> embed_text(const std::string& text, bool truncate = false) const;
  std::vector<float> embed_texts(std::span<const std::string> texts, bool truncate = false) const;

  /// A zero-shot classifier for all of these labels, exactly as they are given. Each template has "{}" where the label
  /// goes; without templates, "a photo of a {}." is used. Throws Error if there are no labels, if a template has no
  /// "{}", or if a text is longer than the context.
  Classifier classifier(std::span<const std::string> labels, std::span<const std::string> templates = {}) const;

  /// The model's tokenizer. Throws Error if the model has no vocabulary.
  Tokenizer tokenizer() const;

 private:
  explicit Model(std::shared_ptr<LoadedModel> model);
  std::shared_ptr<LoadedModel> model_;
};

}  // namespace gondola
