#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "checkpoint/tensor.h"
#include "config/model_config.h"
#include "image/preprocess.h"
#include "text/clip_tokenizer.h"

namespace gondola {

/// A model as read from disk: its weights have OpenAI's names, whatever layout they came in.
///
/// The schema (OpenAI clip/model.py, which open_clip shares): `visual.conv1.weight`, `visual.class_embedding`,
/// `visual.positional_embedding`, `visual.ln_pre.*`,
/// `visual.transformer.resblocks.N.{ln_1,attn.in_proj_*,attn.out_proj, ln_2,mlp.c_fc,mlp.c_proj}.*`,
/// `visual.ln_post.*`, `visual.proj`; for a ModifiedResNet `visual.{conv,bn}{1,2,3}.*`, `visual.layer{1..4}.N.…`,
/// `visual.attnpool.{positional_embedding,{q,k,v,c}_proj.*}`; `token_embedding.weight`, `positional_embedding`,
/// `transformer.resblocks.N.…`, `ln_final.*`, `text_projection` (width × embed_dim, applied from the right), optional
/// `text_projection_bias`; `logit_scale` (a scalar, the logarithm), optional `logit_bias`.
struct ModelFiles {
  ModelConfig config;
  PreprocessConfig preprocess;
  TensorMap weights;
  Family family = Family::open_clip;
  std::string layout;            ///< "OpenAI TorchScript archive", "Hugging Face folder", …
  std::filesystem::path source;  ///< the file that holds the weights, or the index of its shards
  /// The vocabulary that the caller named, else one found in the folder, beside the file, or in the caches.
  std::optional<std::filesystem::path> vocabulary;
  /// The model comes with a configuration, and no vocabulary was named: its own may have fewer tokens than vocab_size.
  bool allows_smaller_vocabulary = false;
};

/// Reads a model from a folder (Hugging Face or open_clip layout), a file (.pt, .pth, .bin, .safetensors;
/// `config_path`, an open_clip model configuration, supplies what a bare state dict does not say), or a name that the
/// local caches resolve. `vocabulary` replaces the model's own. Throws Error that says what was looked for.
ModelFiles load_model_files(const std::string& name_or_path,
                            const std::optional<std::filesystem::path>& config_path = std::nullopt,
                            const std::optional<std::filesystem::path>& vocabulary = std::nullopt);

/// Loads the tokenizer of the model's vocabulary. Throws Error that says where it looked, or why it does not match.
ClipTokenizer load_tokenizer(const ModelFiles& model);

/// Writes the folder of model.family. Hugging Face's loads with transformers.CLIPModel.from_pretrained (config.json,
/// model.safetensors, preprocessor_config.json, vocab.json, merges.txt, tokenizer_config.json, …), open_clip's with its
/// `local-dir:` (open_clip_config.json, open_clip_model.safetensors, vocab.json, merges.txt, …). Without `weights_type`
/// weights keep their types, int8 included, which transformers reads with compressed-tensors. The weights are written
/// last: a folder that has them is complete. Throws Error when a file cannot be written, which leaves a new or empty
/// folder as it was, and for what the layout cannot express, such as a ModifiedResNet in Hugging Face's.
void write_model_folder(const std::filesystem::path& folder, const ModelFiles& model, const ClipTokenizer* tokenizer,
                        std::optional<DType> weights_type);

}  // namespace gondola
