#pragma once

#include <memory>

#include "torch_towers/clip_model.h"
#include "train/embedding_norm.h"
#include "train/gradient_sync.h"
#include "train/loader.h"
#include "train/teacher.h"
#include "train/validation.h"

namespace gondola {

/// What is trained and towards what: the model, its embedding norms and the loss.
class Objective {
 public:
  /// On the recipe's device, with random weights of torch's generator and of `type`. `recipe` and `communicator` must
  /// outlive the object.
  Objective(const Recipe& recipe, Communicator& communicator, at::ScalarType type = at::kFloat);

  /// Computes the loss of the global batch, of which this rank has `batch`, and leaves its gradients in the parameters
  /// of every rank. With micro-batches the representations come first, without what their gradients need; once the loss
  /// has said what it wants of each, they are computed again, a micro-batch at a time (Gao et al. 2021, arXiv
  /// 2101.06983, "GradCache"), save those of the first one: exact, for as much memory as a micro-batch takes.
  double backward(const Batch& batch);

  /// What must hold after each update of the parameters: the scale within [1, max_scale] (arXiv 2103.00020, 2.5).
  void constrain();

  /// Rank 0's weights and statistics become all ranks'.
  void broadcast();

  /// What is trained: the parameters that no lock holds.
  const NamedTensors& parameters() const { return parameters_; }
  /// What state() holds, live.
  NamedTensors tensors() const;
  double scale() const;
  /// logit_bias; nothing without the sigmoid loss.
  std::optional<double> bias() const;
  /// Whom the model is to resemble from now on, beside learning from the pairs; null: nobody.
  void learn_from(const Teacher* teacher) { teacher_ = teacher; }
  /// What the coming steps are traced into; null: nothing.
  void trace(std::shared_ptr<Trace> trace);
  Trace* trace() const { return trace_.get(); }

  /// Between training (true) and evaluation (false).
  void train(bool training);
  Encoders evaluation_encoders();

  /// All that is learned or gathered, as a checkpoint holds it: "model.…", "image_norm.…", "text_norm.…".
  TensorMap state() const;
  void load_state(const TensorMap& state);

  /// The model's own weights with the norms folded in.
  TensorMap weights() const;

 private:
  struct Embeddings {
    at::Tensor images, texts;
  };
  /// Of one of several parts; `again` for gradients alone, which leaves out a tower that has none.
  Embeddings encode(const Batch& batch, std::int64_t part, std::int64_t parts, bool again);
  double loss(const Embeddings& embeddings, const Batch& batch);

  const Recipe& recipe_;
  Communicator& communicator_;
  std::shared_ptr<Trace> trace_;
  const Teacher* teacher_ = nullptr;
  std::shared_ptr<ClipModel> model_;
  std::shared_ptr<EmbeddingNorm> image_norm_, text_norm_;
  NamedTensors parameters_;
  std::unique_ptr<GradientSync> sync_;
};

}  // namespace gondola
