#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "checkpoint/tensor.h"
#include "torch_towers/tensors.h"
#include "train/communicator.h"
#include "train/recipe.h"

namespace gondola {

/// AdamW (arXiv 1711.05101) on PyTorch's fused kernel; with recipe.muon, Muon for the matrices (train/muon.h). Weight
/// decay applies to "all weights that are not gains or biases" (arXiv 2103.00020, table 18), except logit_scale and the
/// class and position embeddings (open_clip's no_weight_decay, here also those of a ModifiedResNet's pooling).
class Optimiser {
 public:
  /// If recipe.shards_optimizer(), each rank updates only the parameters that it owns, then receives the others from
  /// their owners. `recipe` and `communicator` must outlive the object.
  Optimiser(const NamedTensors& parameters, const Recipe& recipe, Communicator& communicator);

  /// Updates the parameters from their gradients, then drops these. A parameter's learning rate is the given one times
  /// its learning_rate_factor, and for Muon times recipe.muon_lr_factor.
  void step(double learning_rate);

  /// Drops the gradients without an update.
  void zero_grad();

  /// The moments, named by the parameter with the prefix "exp_avg." and "exp_avg_sq." (Muon's: "momentum."): all of
  /// them on rank 0, none on the others. All ranks must call it.
  TensorMap state() const;
  /// Restores the moments as they were after `steps` updates.
  void load_state(const TensorMap& state, std::int64_t steps);

 private:
  /// A parameter that another rank may own.
  struct OwnedParameter {
    at::Tensor parameter;
    int owner;
    NamedTensors moments;  ///< undefined where another rank owns it
  };
  struct Group {
    std::vector<at::Tensor> parameters, exp_avgs, exp_avg_sqs, steps;
    double learning_rate_factor, weight_decay;
  };
  /// A parameter that Muon updates.
  struct Matrix {
    at::Tensor parameter, momentum;
    std::int64_t matrices;  ///< see matrix_count
    bool input_major;       ///< see is_input_major
    double learning_rate_factor, weight_decay;
  };
  void step_adamw(double learning_rate);
  void step_muon(double learning_rate);
  void broadcast_parameters();

  const Recipe& recipe_;
  Communicator& communicator_;
  const bool sharded_;
  std::vector<OwnedParameter> parameters_;  ///< all of them
  std::vector<Group> groups_;               ///< this rank's own
  std::vector<Matrix> matrices_;
};

/// Scales all gradients by one factor, the same on all ranks, so that their joint L2 norm is at most `limit` (0: no
/// limit). Returns the norm before scaling, on all ranks that of rank 0.
double clip_gradients(const NamedTensors& parameters, double limit, Communicator& communicator);

}  // namespace gondola
