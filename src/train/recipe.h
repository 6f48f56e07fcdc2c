#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/model_files.h"
#include "checkpoint/tensor.h"
#include "config/model_config.h"
#include "data/dataset.h"
#include "image/augment.h"
#include "image/preprocess.h"
#include "metrics/metrics.h"

namespace gondola {

/// The course of the learning rate after its warm-up (train/schedule.h).
enum class Schedule { cosine, constant };

/// A training run, as a TOML file describes it. docs/training.md explains every key.
struct Recipe {
  // [model]: `preset`, or the fields of ModelConfig inline with [model.image] and [model.text]
  ModelConfig model;
  std::optional<std::filesystem::path>
      vocabulary;  ///< or vocab_size, to train one from the captions; by default that of `pretrained`, else OpenAI's
  int vocab_size = 0;
  std::string pretrained, pretrained_image,
      pretrained_text;                 ///< models whose weights (all, or a tower's) the run starts from
  bool batch_norm_embeddings = false;  ///< see EmbeddingNorm
  bool low_pass_stem = false;          ///< see ModifiedResNet::blur_stem; not trained
  DType export_dtype = DType::float32;

  // [preprocess]
  PreprocessConfig preprocess;

  // [data]
  std::vector<Source> train;           ///< names, or { source = "…", weight = 2.0 }
  std::vector<AugmentConfig> augment;  ///< of each of them: [augment], overridden by its own table
  std::vector<std::string> validation;
  int captions_per_image = 1;             ///< drawn anew each time; all are positives
  std::int64_t max_read_failures = 1000;  ///< tolerated failures to read samples
  std::vector<std::string> templates = {default_template}, validation_templates = {default_template};

  // [teacher]
  std::string teacher;        ///< a model whose similarities are learned too (train/distillation.h)
  double teacher_weight = 1;  ///< share of the distillation in the loss

  // [train]
  int batch_size = 256;      ///< of all ranks together
  int micro_batch_size = 0;  ///< pairs that a rank computes at a time; gradients stay exact in less memory; 0: all
  std::int64_t steps = 0;    ///< or epochs
  double epochs = 0;
  double learning_rate = 5e-4, weight_decay = 0.2;
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-6;  ///< beta2 and epsilon default to 0.999 and 1e-8 for a ResNet
  bool muon = false;                                 ///< optimizer = "muon" (train/muon.h), else "adamw"
  double muon_lr_factor = 20;                        ///< factor of the learning rate for what Muon updates
  double image_lr_factor = 1, text_lr_factor = 1;    ///< factors of each tower's learning rate
  double layer_decay = 1;                            ///< a block's learning rate relative to the next block's
  bool lock_image = false, lock_text = false;
  /// Whether nothing in a tower is trained.
  bool is_locked(bool image) const { return (image ? lock_image : lock_text) && unlocked_blocks == 0; }
  int unlocked_blocks = 0;  ///< the last ones of a locked tower, which are still trained
  Schedule schedule = Schedule::cosine;
  std::int64_t warmup_steps = 2000, cooldown_steps = 0;
  double gradient_clip = 0;               ///< largest joint norm of all gradients; 0: no limit
  double spike_guard = 0;                 ///< skips an update whose norm exceeds this multiple of the usual; 0: none
  double ema_decay = 0;                   ///< of the weights' moving average, which is exported instead; 0: none
  double patch_dropout = 0;               ///< share of an image's patches hidden from a ViT in training (FLIP)
  bool activation_checkpointing = false;  ///< recomputes blocks in the backward pass to save memory
  bool shard_optimizer = false;  ///< each rank keeps the moments of some of the weights (ZeRO-1, arXiv 1910.02054)
  /// Whether each rank updates only some of the weights. Muon's matrix products need not round alike on all ranks, so
  /// that the weights would drift apart if each rank updated them all.
  bool shards_optimizer() const { return shard_optimizer || muon; }
  double max_scale = 100;  ///< largest exp(logit_scale) (arXiv 2103.00020, 2.5)
  bool bf16 = false;
  bool soft_targets = false;  ///< see LossOptions; the loss itself, train.loss, is model.sigmoid_loss
  std::uint64_t seed = 0;
  std::int64_t save_every_steps = 1000, validate_every_steps = 1000;
  int threads = 0;  ///< 0: all processors that the process may use
  std::string device = "cpu";
  double peak_tflops = 0;  ///< peak of one process's device, for the MFU; 0: measured

  /// Every key with its value, or its default if the recipe does not set it ("train.seed" → "1"); a resumed run is
  /// compared by these.
  std::map<std::string, std::string> values;
  std::set<std::string> given;  ///< the keys that the recipe sets itself
};

/// The layout in which a run's model is written, which also decides its preprocessing: transformers', or open_clip's
/// for what transformers' CLIPModel lacks (ResNets and a logit bias).
Family export_family(const ModelConfig& model);

/// Finds the file of a recipe: a path, or the name of one that comes with Gondola ("openai-b32"). Throws Error that
/// lists the latter.
std::filesystem::path find_recipe(const std::string& name);

/// Reads a recipe; `overrides` are "section.key=value" with a TOML value. Throws Error that names the file and the key
/// that is unknown, of the wrong type or out of range, or the model sizes that do not fit together.
Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace gondola
