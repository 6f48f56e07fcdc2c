#pragma once

#include <memory>

#include "torch_towers/clip_model.h"
#include "train/embedding_norm.h"
#include "train/loader.h"
#include "train/optimiser.h"
#include "train/validation.h"

namespace gondola {

/// What is trained and towards what: the model, its embedding norms and the loss.
class Objective {
 public:
  /// On the recipe's device, with random weights of torch's generator.
  explicit Objective(const Recipe& recipe);

  /// Computes the batch's loss and leaves its gradients in the parameters.
  double backward(const Batch& batch);

  /// What must hold after each update of the parameters: the scale within [1, max_scale] (arXiv 2103.00020, 2.5).
  void constrain();

  /// What is trained: the parameters that no lock holds.
  const AdamW::NamedParameters& parameters() const { return parameters_; }
  /// What state() holds, live.
  AdamW::NamedParameters tensors() const;
  double scale() const;

  /// Between training (true) and evaluation (false).
  void train(bool training);
  Encoders evaluation_encoders();

  /// All that is learned or gathered, as a checkpoint holds it: "model.…", "image_norm.…", "text_norm.…".
  TensorMap state() const;
  void load_state(const TensorMap& state);

  /// The model's own weights with the norms folded in.
  TensorMap weights() const;

 private:
  const Recipe& recipe_;
  std::shared_ptr<ClipModel> model_;
  std::shared_ptr<EmbeddingNorm> image_norm_, text_norm_;
  AdamW::NamedParameters parameters_;
};

}  // namespace gondola
