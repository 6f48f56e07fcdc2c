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
      vocabulary;  ///< or vocab_size, to train one from the captions; by default the initial model's, else OpenAI's
  int vocab_size = 0;
  std::string initial, initial_image, initial_text;  ///< models whose weights, all or of a tower, the run starts from
  bool batch_norm_embeddings = false;                ///< see EmbeddingNorm
  bool low_pass_stem = false;                        ///< see ModifiedResNet::blur_stem; not trained
  DType export_dtype = DType::float32;

  // [preprocess]
  PreprocessConfig preprocess;

  // [data]
  std::vector<Source> train;           ///< names, or { source = "…", weight = 2.0 }
  std::vector<AugmentConfig> augment;  ///< of each of them: [augment], less what its table says
  std::vector<std::string> validation;
  int captions_per_image = 1;      ///< drawn anew every time, all of them positives
  std::int64_t max_broken = 1000;  ///< failures to read samples
  std::vector<std::string> templates = {default_template}, validation_templates = {default_template};

  // [teacher]
  std::string teacher;        ///< a model whose similarities are to be had too (train/distillation.h)
  double teacher_weight = 1;  ///< share of the distillation in the loss

  // [train]
  int batch_size = 256;      ///< of all ranks together
  int micro_batch_size = 0;  ///< pairs that a rank computes at a time, for exact gradients in less memory; 0: all
  std::int64_t steps = 0;    ///< or epochs
  double epochs = 0;
  double learning_rate = 5e-4, weight_decay = 0.2;
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-6;  ///< beta2 and epsilon default to 0.999 and 1e-8 for a ResNet
  bool muon = false;                                 ///< optimizer = "muon" (train/muon.h), else "adamw"
  double muon_rate = 20;                             ///< factor of the learning rate of what Muon updates
  double image_rate = 1, text_rate = 1;              ///< factors of the learning rate of a tower
  double layer_decay = 1;                            ///< factor of the learning rate of a block beside the one after it
  bool lock_image = false, lock_text = false;
  /// Whether none of a tower is trained.
  bool is_locked(bool image) const { return (image ? lock_image : lock_text) && unlocked_blocks == 0; }
  int unlocked_blocks = 0;  ///< the last ones of a locked tower, which are trained all the same
  Schedule schedule = Schedule::cosine;
  std::int64_t warmup_steps = 2000, cooldown_steps = 0;
  double gradient_clip = 0;               ///< largest norm of all gradients together; 0: none
  double spike_guard = 0;                 ///< skips an update whose norm exceeds so many times the usual one; 0: none
  double ema_decay = 0;                   ///< of the weights' moving average, which is exported in their place; 0: none
  double patch_dropout = 0;               ///< share of an image's patches that a ViT is not shown in training (FLIP)
  bool activation_checkpointing = false;  ///< blocks are computed again in the backward pass, for memory
  bool shard_optimizer = false;  ///< each rank keeps the moments of a part of the weights (ZeRO-1, arXiv 1910.02054)
  double max_scale = 100;        ///< largest exp(logit_scale) (arXiv 2103.00020, 2.5)
  bool bf16 = false;
  bool soft_targets = false;  ///< see LossOptions; the loss itself, train.loss, is model.sigmoid_loss
  std::uint64_t seed = 0;
  std::int64_t save_every_steps = 1000, validate_every_steps = 1000;
  int threads = 0;  ///< 0: all processors that the process may use
  std::string device = "cpu";
  double peak_tflops = 0;  ///< of one process's device, for the MFU; 0: measured

  /// Every key with its value, the default's where the recipe has none ("train.seed" → "1"): what a resumed run must
  /// agree with.
  std::map<std::string, std::string> values;
  std::set<std::string> given;  ///< the keys that the recipe has itself
};

/// The layout a run's model is written in, which decides its preprocessing: transformers', or open_clip's for what
/// transformers' CLIPModel lacks: ResNets and a logit bias.
Family export_family(const ModelConfig& model);

/// The file of a recipe: a path, or the name of one that comes with Gondola ("openai-b32"). Throws Error that lists
/// them.
std::filesystem::path find_recipe(const std::string& name);

/// Reads a recipe; `overrides` are "section.key=value" with a TOML value. Throws Error that names the file and the key
/// that is unknown, of the wrong type or out of range; of a model's sizes, those that do not go together.
Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace gondola
