#include <filesystem>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "checkpoint/hugging_face_config.h"
#include "checkpoint/model_files.h"
#include "checkpoint/open_clip_config.h"
#include "checkpoint/quantized_weights.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/weight_names.h"
#include "checkpoint/with_origin.h"
#include "text/byte_alphabet.h"

namespace gondola {
namespace {

using nlohmann::ordered_json;
using std::filesystem::path;

void write_json(const path& file, const ordered_json& json) {
  write_file_atomically(file, json.dump(2) + "\n");
}

/// Converts the weights to another type, except scalars and BatchNorm statistics: they take no room, and a variance may
/// lie outside fp16's range.
TensorMap convert_weights(const TensorMap& weights, std::optional<DType> type) {
  if (!type) return weights;
  TensorMap result;
  for (const auto& [name, tensor] : weights) {
    const bool is_kept = name == "logit_scale" || name == "logit_bias" || name.ends_with(".running_mean") ||
                         name.ends_with(".running_var") || name.ends_with(".num_batches_tracked");
    result[name] = is_kept ? tensor : with_origin(name, [&weight = tensor, &type] { return convert(weight, *type); });
  }
  return result;
}

/// The weights in another type and under the layout's names.
TensorMap weights_of(const ModelFiles& model, std::optional<DType> type, TensorMap (*rename)(const TensorMap&)) {
  return with_origin(model.config.name, [&] { return rename(convert_weights(model.weights, type)); });
}

/// The quantization_config of compressed-tensors for int8 weights with one scale per output channel and activations
/// that are quantised dynamically. `weights` have transformers' names.
ordered_json quantization_config(const TensorMap& weights) {
  constexpr std::string_view kind = ".weight";
  ordered_json ignored = ordered_json::array();
  for (const auto& [name, tensor] : weights) {
    const bool linear = name.ends_with(kind) && tensor.shape.size() == 2 && name.find("embedding") == std::string::npos;
    if (linear && tensor.type != DType::int8) ignored.push_back(name.substr(0, name.size() - kind.size()));
  }
  const ordered_json numbers = {{"num_bits", 8}, {"type", "int"}};
  ordered_json weight = numbers, activation = numbers;
  weight.update({{"strategy", "channel"}, {"symmetric", true}, {"dynamic", false}});
  activation.update({{"strategy", "token"}, {"symmetric", false}, {"dynamic", true}});
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups",
           {{"group_0", {{"targets", {"Linear"}}, {"weights", weight}, {"input_activations", activation}}}}},
          {"ignore", ignored}};
}

void write_tokenizer(const path& folder, const ClipTokenizer& tokenizer, int context_length) {
  tokenizer.save(folder);
  const auto special = [](const char* token) {
    return ordered_json{
        {"content", token}, {"lstrip", false}, {"normalized", true}, {"rstrip", false}, {"single_word", false}};
  };
  const ordered_json special_tokens = {{"bos_token", special(start_of_text)},
                                       {"eos_token", special(end_of_text)},
                                       {"unk_token", special(end_of_text)},
                                       {"pad_token", end_of_text}};
  ordered_json config = {{"tokenizer_class", "CLIPTokenizer"},
                         {"model_max_length", context_length},
                         {"add_prefix_space", false},
                         {"do_lower_case", true},
                         {"errors", "replace"}};
  config.update(special_tokens);
  write_json(folder / "tokenizer_config.json", config);
  write_json(folder / "special_tokens_map.json", special_tokens);
}

/// The files of a folder, except its tokenizer's. What the layout cannot express throws before any is written.
struct Layout {
  std::vector<std::pair<const char*, ordered_json>> json;
  const char* weights_name;
  TensorMap weights;
};

Layout hugging_face_layout(const ModelFiles& model, const ClipTokenizer* tokenizer, std::optional<DType> weights_type) {
  ordered_json config = to_hugging_face_config(model.config);
  // open_clip's configuration, which may be where the model comes from, does not name the start token.
  if (tokenizer != nullptr) config["text_config"]["bos_token_id"] = tokenizer->start_id();
  config["dtype"] = name(weights_type.value_or(DType::float32));
  TensorMap weights = weights_of(model, weights_type, to_hugging_face_names);
  if (is_quantized(weights)) config["quantization_config"] = quantization_config(weights);
  return {{{"config.json", config}, {"preprocessor_config.json", to_hugging_face_preprocess(model.preprocess)}},
          "model.safetensors",
          std::move(weights)};
}

Layout open_clip_layout(const ModelFiles& model, const ClipTokenizer* tokenizer, std::optional<DType> weights_type) {
  ordered_json config = to_open_clip_config(model.config);
  // With local-dir:, open_clip takes this folder's tokenizer if the field is set, whatever its value, else OpenAI's.
  if (tokenizer != nullptr && tokenizer->hash_of_tokens() != openai_hash_of_tokens)
    config["text_cfg"]["hf_tokenizer_name"] = ".";
  const ordered_json both = {{"model_cfg", config}, {"preprocess_cfg", to_open_clip_preprocess(model.preprocess)}};
  return {{{"open_clip_config.json", both}},
          "open_clip_model.safetensors",
          weights_of(model, weights_type, to_open_clip_names)};
}

}  // namespace

void write_model_folder(const path& folder, const ModelFiles& model, const ClipTokenizer* tokenizer,
                        std::optional<DType> weights_type) {
  const bool hugging_face = model.family == Family::hugging_face;
  // Hugging Face's layout names the end token; open_clip and OpenAI take the largest id.
  if (hugging_face && tokenizer != nullptr && tokenizer->end_id() != model.config.text.end_id)
    fail("model {}: texts end with the token {}, but in its vocabulary with {}", model.config.name,
         model.config.text.end_id, tokenizer->end_id());
  const Layout layout = hugging_face ? hugging_face_layout(model, tokenizer, weights_type)
                                     : open_clip_layout(model, tokenizer, weights_type);
  const bool existed = exists(symlink_status(folder)), is_new = !existed || is_empty(folder);
  try {
    make_folder(folder);
    for (const auto& [name, json] : layout.json) write_json(folder / name, json);
    if (tokenizer != nullptr) write_tokenizer(folder, *tokenizer, model.config.text.context_length);
    write_safetensors(folder / layout.weights_name, layout.weights, {{"format", "pt"}});
  } catch (...) {
    std::error_code ignored;
    if (is_new)
      for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) remove_all(entry.path(), ignored);
    if (!existed) std::filesystem::remove(folder, ignored);
    throw;
  }
}

}  // namespace gondola
