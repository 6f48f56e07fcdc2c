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
  /// Creates the model on the recipe's device, in `type`, with random weights from torch's generator. `recipe` and
  /// `communicator` must outlive the object.
  Objective(const Recipe& recipe, Communicator& communicator, at::ScalarType type = at::kFloat);

  /// Computes the loss of the global batch, of which this rank has `batch`, and leaves its gradients in the parameters
  /// of every rank. With micro-batches, all embeddings are first computed without what their gradients need. Given the
  /// loss's gradient of each, they are computed again, a micro-batch at a time, save those of the first (Gao et al.
  /// 2021, arXiv 2101.06983, "GradCache"). This is exact and takes the memory of one micro-batch.
  double backward(const Batch& batch);

  /// Keeps the scale within [1, max_scale], as must hold after each update (arXiv 2103.00020, 2.5).
  void clamp_logit_scale();

  /// Copies rank 0's weights and statistics to all ranks.
  void broadcast();

  /// The parameters that are trained, that is, not locked.
  const NamedTensors& parameters() const { return parameters_; }
  /// The live tensors that state() copies.
  NamedTensors tensors() const;
  double scale() const;
  /// logit_bias; none without the sigmoid loss.
  std::optional<double> bias() const;
  /// Sets the teacher that the model learns from in addition to the pairs; null: none.
  void set_teacher(const Teacher* teacher) { teacher_ = teacher; }
  /// Records the coming steps in `trace`; null: stops recording.
  void trace(std::shared_ptr<Trace> trace);
  Trace* trace() const { return trace_.get(); }

  /// Switches to training (true) or evaluation (false).
  void train(bool training);
  Encoders evaluation_encoders();

  /// All weights and statistics, as a checkpoint names them: "model.…", "image_norm.…", "text_norm.…".
  TensorMap state() const;
  void load_state(const TensorMap& state);

  /// The model's own weights with the norms folded in.
  TensorMap weights() const;

 private:
  struct Embeddings {
    at::Tensor images, texts;
  };
  /// Encodes one of several parts. `again`: only for gradients, so a locked tower is skipped.
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
