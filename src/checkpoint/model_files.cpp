#include "checkpoint/model_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/hugging_face_config.h"
#include "checkpoint/infer_config.h"
#include "checkpoint/model_locations.h"
#include "checkpoint/open_clip_config.h"
#include "checkpoint/pytorch_archive.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_names.h"
#include "checkpoint/with_origin.h"

namespace gondola {
namespace {

using std::filesystem::path;

constexpr std::uint64_t max_json_bytes = 16 << 20;  // of a configuration, or an index of shards

/// Throws Error where that cannot be found out, for want of permission for example.
bool is_there(const path& file) {
  std::error_code error;
  const bool found = exists(file, error);
  if (error) fail("{}: {}", file.string(), error.message());
  return found;
}

Json read_json(const path& file) {
  return parse_json(read_regular_file(file, max_json_bytes), file.string());
}

/// Takes {"model_cfg": …, "preprocess_cfg": …} or a bare model configuration.
void apply_open_clip_config(const Json& json, const path& file, ModelFiles& model) {
  const bool wrapped = json.is_object() && json.contains("model_cfg");
  model.config = read_open_clip_config(wrapped ? json.at("model_cfg") : json, file.string());
  model.preprocess =
      read_open_clip_preprocess(wrapped && json.contains("preprocess_cfg") ? json.at("preprocess_cfg") : Json(),
                                model.config.image.image_size, file.string());
  model.family = Family::open_clip;
}

/// Whether a file is safetensors: by its extension or, since blobs in caches have other names, by its start (the
/// header's length in eight bytes, then JSON). Throws Error for a Git LFS pointer.
bool is_safetensors(const path& file) {
  const MappedFile mapped(file);
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  if (text.starts_with("version https://git-lfs"))
    fail("{}: is only a Git LFS pointer; git lfs pull fetches the file", file.string());
  return file.extension() == ".safetensors" || (text.size() > 8 && text[8] == '{');
}

/// Reads a file of either kind.
PytorchArchive read_weights(const path& file) {
  return is_safetensors(file) ? PytorchArchive{read_safetensors(file)} : read_pytorch_archive(file);
}

/// Reads a large model saved in shards, by its index: {"weight_map": {weight: file beside the index, …}}.
TensorMap read_shards(const path& index) {
  const Json json = read_json(index);
  const Json map = json.is_object() ? json.value("weight_map", Json()) : Json();
  if (!map.is_object()) fail("{}: expected an object \"weight_map\"", index.string());
  std::map<std::string, TensorMap> shards;
  TensorMap weights;
  for (const auto& [weight, file] : map.items()) {
    if (!file.is_string() || path(file.get<std::string>()).has_parent_path())
      fail("{}: {} is in {}, expected the name of a file", index.string(), weight, file.dump());
    const auto [shard, is_new] = shards.try_emplace(file.get<std::string>());
    if (is_new) shard->second = read_weights(index.parent_path() / shard->first).tensors;
    const auto found = shard->second.find(weight);
    if (found == shard->second.end()) fail("{}: {} has no {}", index.string(), shard->first, weight);
    weights.insert(*found);
  }
  return weights;
}

using Names = std::span<const char* const>;
/// In the order in which open_clip looks for them (factory.py, _find_checkpoint_in_dir): its own four names, then four
/// others.
constexpr std::array open_clip_weights = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                          "open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth",
                                          "model.safetensors",           "pytorch_model.bin",
                                          "pytorch_model.pth",           "model.pth"};
constexpr Names own_open_clip_weights = Names(open_clip_weights).first(4);
constexpr std::array hugging_face_weights = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                             "pytorch_model.bin.index.json"};

/// Whether a file is named as one of `weights` and has a configuration named `config` beside it.
bool has_config(const path& file, const char* config, Names weights) {
  return std::ranges::find(weights, file.filename().string()) != weights.end() && is_there(file.parent_path() / config);
}

/// The first of the files that exists, or nothing.
std::optional<path> first_of(const path& folder, Names names) {
  for (const char* name : names)
    if (is_there(folder / name)) return folder / name;
  return std::nullopt;
}

path weights_in(const path& folder, Names names) {
  if (const auto found = first_of(folder, names)) return *found;
  fail("{}: has none of {}", folder.string(), fmt::join(names, ", "));
}

ModelFiles read_open_clip_folder(const path& folder, const path& weights) {
  ModelFiles model;
  model.layout = "open_clip folder";
  model.allows_smaller_vocabulary = true;
  const path config = folder / "open_clip_config.json";
  apply_open_clip_config(read_json(config), config, model);
  model.source = weights;
  const TensorMap read = read_weights(weights).tensors;
  model.weights = with_origin(weights.string(), [&] { return from_open_clip_names(read); });
  return model;
}

/// The saved image processor, or null, and the file it belongs to. transformers 5 keeps it in processor_config.json,
/// and prefers that one.
std::pair<Json, path> image_processor_of(const path& folder) {
  const path processor = folder / "processor_config.json", own = folder / "preprocessor_config.json";
  if (is_there(processor)) {
    const Json json = read_json(processor);
    if (json.is_object() && !json.value("image_processor", Json()).is_null())
      return {json["image_processor"], processor};
  }
  return {is_there(own) ? read_json(own) : Json(), own};
}

ModelFiles read_hugging_face_folder(const path& folder, const path& weights) {
  ModelFiles model;
  model.layout = "Hugging Face folder";
  model.allows_smaller_vocabulary = true;
  model.family = Family::hugging_face;
  const path config = folder / "config.json";
  model.config = read_hugging_face_config(read_json(config), config.string());
  const auto [preprocess, origin] = image_processor_of(folder);
  if (preprocess.is_null())
    fail(
        "{}: has neither processor_config.json nor preprocessor_config.json beside it, which say how to preprocess "
        "images",
        config.string());
  model.preprocess = read_hugging_face_preprocess(preprocess, model.config.image.image_size, origin.string());
  model.source = weights;
  const TensorMap read = weights.extension() == ".json" ? read_shards(weights) : read_weights(weights).tensors;
  model.weights = with_origin(weights.string(), [&] { return from_hugging_face_names(read); });
  return model;
}

ModelFiles read_folder(const path& folder) {
  // A repository may hold both layouts, and a cache the weights of only one of them.
  const bool open_clip = is_there(folder / "open_clip_config.json"), hugging_face = is_there(folder / "config.json");
  if (!open_clip && !hugging_face)
    fail("{}: has neither open_clip_config.json nor config.json{}", folder.string(),
         is_there(folder / "recipe.json")
             ? "; it is the folder of a training run, which ends by writing its model to " + (folder / "model").string()
             : "");
  if (const auto own = first_of(folder, own_open_clip_weights); open_clip && own)
    return read_open_clip_folder(folder, *own);
  if (hugging_face) return read_hugging_face_folder(folder, weights_in(folder, hugging_face_weights));
  return read_open_clip_folder(folder, weights_in(folder, open_clip_weights));
}

ModelFiles read_single_file(const path& file, const std::optional<path>& config_path) {
  if (!config_path && has_config(file, "open_clip_config.json", own_open_clip_weights))
    return read_open_clip_folder(file.parent_path(), file);
  if (!config_path && has_config(file, "config.json", hugging_face_weights))
    return read_hugging_face_folder(file.parent_path(), file);
  if (!config_path && has_config(file, "open_clip_config.json", open_clip_weights))
    return read_open_clip_folder(file.parent_path(), file);
  ModelFiles model;
  model.source = file;
  const auto [tensors, torch_script] = read_weights(file);
  const bool is_openai = torch_script && tensors.contains("input_resolution");  // open_clip's archives lack it
  model.weights = with_origin(file.string(), [&read = tensors] { return from_open_clip_names(read); });
  if (config_path) {
    model.layout = torch_script ? "TorchScript archive" : "state dict";
    const std::string text = read_file(*config_path, max_json_bytes);  // a user may name a pipe
    apply_open_clip_config(parse_json(text, config_path->string()), *config_path, model);
    if (is_openai && model.config.text.activation != Activation::quick_gelu)
      fail("{}: OpenAI's weights use QuickGELU, but {} does not set \"quick_gelu\"; they need no --config",
           file.string(), config_path->string());
  } else if (is_openai) {
    model.layout = "OpenAI TorchScript archive";
    model.config = infer_openai_config(model.weights, file.string());
    model.preprocess.size = model.config.image.image_size;
  } else {
    fail("{}: {} does not say which activation and preprocessing it needs; name its open_clip configuration (--config)",
         file.string(), torch_script ? "a TorchScript archive that is not OpenAI's" : "a bare state dict");
  }
  return model;
}

/// Some checkpoints keep these in a tensor of shape [1]; transformers and open_clip expect scalars.
void make_scalars(TensorMap& weights) {
  for (const char* name : {"logit_scale", "logit_bias"})
    if (const auto found = weights.find(name); found != weights.end() && found->second.elements() == 1)
      found->second.shape.clear();
}

}  // namespace

ModelFiles load_model_files(const std::string& name_or_path, const std::optional<path>& config_path,
                            const std::optional<path>& vocabulary) {
  const path found = find_model(name_or_path);
  const bool is_folder = std::filesystem::is_directory(found);
  if (is_folder && config_path)
    fail("{}: is a folder, which has its own configuration; leave out --config", found.string());
  ModelFiles model = is_folder ? read_folder(found) : read_single_file(found, config_path);
  make_scalars(model.weights);
  // open_clip's configuration of a sigmoid-loss model may not say so: training sets it by --siglip.
  if (model.weights.contains("logit_bias")) model.config.sigmoid_loss = true;
  model.config.name = name_or_path;
  const path beside = is_folder ? found : absolute(found).parent_path();
  if (vocabulary) model.allows_smaller_vocabulary = false;
  model.vocabulary = vocabulary ? vocabulary : find_vocabulary(beside, model.config.text.vocab_size);
  return model;
}

ClipTokenizer load_tokenizer(const ModelFiles& model) {
  if (!model.vocabulary)
    fail(
        "{}: no vocabulary (vocab.json with merges.txt, tokenizer.json or bpe_simple_vocab_16e6.txt.gz) in {}{}; name "
        "one with --vocab",
        model.config.name, absolute(model.source).parent_path().string(),
        model.config.text.vocab_size == openai_vocab_size ? ", nor in the caches of Hugging Face and clip" : "");
  const path& source = *model.vocabulary;
  ClipTokenizer tokenizer = ClipTokenizer::load(source);
  const TextTowerConfig& text = model.config.text;
  // A model may have room for more tokens than its own vocabulary has.
  if (tokenizer.size() > text.vocab_size || (!model.allows_smaller_vocabulary && tokenizer.size() < text.vocab_size))
    fail("{}: has {} tokens, the model {} has {}", source.string(), tokenizer.size(), model.config.name,
         text.vocab_size);
  if (text.pooling == TextPooling::end_token && tokenizer.end_id() != text.end_id)
    fail("{}: its end token is {}, the model {} pools at {}", source.string(), tokenizer.end_id(), model.config.name,
         text.end_id);
  return tokenizer;
}

}  // namespace gondola
