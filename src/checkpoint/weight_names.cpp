#include "checkpoint/weight_names.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace gondola {
namespace {

Tensor transpose(const std::string& name, const Tensor& tensor) {
  if (tensor.shape.size() != 2) fail("{}: shape {}, expected a matrix", name, format_shape(tensor.shape));
  const auto rows = static_cast<std::size_t>(tensor.shape[0]), columns = static_cast<std::size_t>(tensor.shape[1]);
  const std::size_t size = size_of(tensor.type);
  std::vector<std::byte> bytes(tensor.bytes.size());
  for (std::size_t row = 0; row < rows && !bytes.empty(); ++row)
    for (std::size_t column = 0; column < columns; ++column)
      std::memcpy(bytes.data() + (column * rows + row) * size, tensor.bytes.data() + (row * columns + column) * size,
                  size);
  return make_tensor(tensor.type, {tensor.shape[1], tensor.shape[0]}, std::move(bytes));
}

/// Joins queries, keys and values along the first dimension.
Tensor concatenate(const std::string& name, const std::array<const Tensor*, 3>& parts) {
  std::vector<std::byte> bytes;
  bytes.reserve(3 * parts[0]->bytes.size());
  for (const Tensor* part : parts) {
    if (part->shape != parts[0]->shape || part->type != parts[0]->type || part->shape.empty())
      fail("{}: queries, keys and values differ in shape or type", name);
    bytes.insert(bytes.end(), part->bytes.begin(), part->bytes.end());
  }
  std::vector<std::int64_t> shape = parts[0]->shape;
  shape[0] *= 3;
  return make_tensor(parts[0]->type, std::move(shape), std::move(bytes));
}

/// The queries, keys or values of such a tensor, by index.
Tensor qkv_part(const std::string& name, const Tensor& qkv, std::size_t index) {
  if (qkv.shape.empty() || qkv.shape[0] % 3 != 0)
    fail("{}: shape {}, expected queries, keys and values", name, format_shape(qkv.shape));
  Tensor part = qkv;
  part.shape[0] /= 3;
  const std::size_t size = qkv.bytes.size() / 3;
  part.bytes = qkv.bytes.subspan(index * size, size);
  return part;
}

struct ExactName {
  const char *hugging_face, *openai;
  bool transposed = false;
};

constexpr ExactName exact_names[] = {
    {"logit_scale", "logit_scale"},
    {"text_model.embeddings.token_embedding.weight", "token_embedding.weight"},
    {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
    {"text_model.final_layer_norm.weight", "ln_final.weight"},
    {"text_model.final_layer_norm.bias", "ln_final.bias"},
    {"text_projection.weight", "text_projection", true},
    {"vision_model.embeddings.class_embedding", "visual.class_embedding"},
    {"vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"},
    {"vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"},
    {"vision_model.pre_layrnorm.weight", "visual.ln_pre.weight"},  // transformers' spelling
    {"vision_model.pre_layrnorm.bias", "visual.ln_pre.bias"},
    {"vision_model.post_layernorm.weight", "visual.ln_post.weight"},
    {"vision_model.post_layernorm.bias", "visual.ln_post.bias"},
    {"visual_projection.weight", "visual.proj", true},
};

constexpr std::array<std::pair<const char*, const char*>, 2> layer_prefixes = {
    {{"text_model.encoder.layers.", "transformer.resblocks."},
     {"vision_model.encoder.layers.", "visual.transformer.resblocks."}}};

constexpr std::array<std::pair<const char*, const char*>, 5> layer_names = {{{"layer_norm1", "ln_1"},
                                                                             {"layer_norm2", "ln_2"},
                                                                             {"self_attn.out_proj", "attn.out_proj"},
                                                                             {"mlp.fc1", "mlp.c_fc"},
                                                                             {"mlp.fc2", "mlp.c_proj"}}};

constexpr std::array<const char*, 3> projections = {"self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."};

bool drop_prefix(std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

/// Whether a layer has tensors of this kind; int8 weights come with scales (checkpoint/quantized_weights.h).
bool is_kind(std::string_view kind) {
  return kind == "weight" || kind == "bias" || kind == "weight_scale";
}

/// Adds one weight of a layer, e.g. `name` "3.mlp.fc1.bias", under `to_prefix`.
void add_layer_weight(const std::string& full_name, const std::string& name, const std::string& to_prefix,
                      const TensorMap& weights, TensorMap& result) {
  const std::size_t dot = name.find('.');
  const std::string to_layer = to_prefix + name.substr(0, dot + 1);
  const std::string rest = name.substr(std::min(dot + 1, name.size()));
  for (const auto& [from, to] : layer_names)
    if (rest.starts_with(std::string(from) + ".") && is_kind(rest.substr(std::strlen(from) + 1))) {
      result[to_layer + to + rest.substr(std::strlen(from))] = weights.at(full_name);
      return;
    }
  for (const char* projection : projections) {
    if (!rest.starts_with(projection)) continue;
    const std::string kind = rest.substr(std::strlen(projection));
    if (!is_kind(kind)) break;
    if (projection != projections[0]) return;  // handled together with the queries
    const std::string from_layer = full_name.substr(0, full_name.size() - rest.size());
    std::array<const Tensor*, 3> parts{};
    for (std::size_t i = 0; i < 3; ++i) {
      const auto found = weights.find(from_layer + projections[i] + kind);
      if (found == weights.end()) fail("the weight {}{}{} is missing", from_layer, projections[i], kind);
      parts[i] = &found->second;
    }
    result[to_layer + "attn.in_proj_" + kind] = concatenate(full_name, parts);
    return;
  }
  fail("transformers' CLIPModel has no weight {}", full_name);
}

}  // namespace

TensorMap from_hugging_face_names(const TensorMap& weights) {
  TensorMap result;
  for (const auto& [name, tensor] : weights) {
    if (name.ends_with(".position_ids")) continue;  // a buffer of 0, 1, 2 … in old files
    if (const auto found = std::ranges::find(exact_names, name, &ExactName::hugging_face);
        found != std::end(exact_names)) {
      result[found->openai] = found->transposed ? transpose(name, tensor) : tensor;
      continue;
    }
    bool is_layer = false;
    for (const auto& [from, to] : layer_prefixes)
      if (std::string rest = name; drop_prefix(rest, from)) {
        add_layer_weight(name, rest, to, weights, result);
        is_layer = true;
      }
    if (!is_layer) fail("transformers' CLIPModel has no weight {}", name);
  }
  return result;
}

TensorMap to_hugging_face_names(const TensorMap& weights) {
  TensorMap result;
  for (const auto& [name, tensor] : weights) {
    if (const auto found = std::ranges::find(exact_names, name, &ExactName::openai); found != std::end(exact_names)) {
      result[found->hugging_face] = found->transposed ? transpose(name, tensor) : tensor;
      continue;
    }
    const std::size_t before = result.size();
    for (const auto& [to, from] : layer_prefixes) {
      std::string rest = name;
      if (!drop_prefix(rest, from)) continue;
      const std::size_t dot = rest.find('.');
      const std::string layer = to + rest.substr(0, dot + 1);
      rest.erase(0, dot + 1);
      if (drop_prefix(rest, "attn.in_proj_")) {
        for (std::size_t i = 0; i < 3; ++i) result[layer + projections[i] + rest] = qkv_part(name, tensor, i);
      } else {
        for (const auto& [hugging_face, openai] : layer_names)
          if (rest.starts_with(std::string(openai) + "."))
            result[layer + hugging_face + rest.substr(std::strlen(openai))] = tensor;
      }
    }
    if (result.size() == before) fail("transformers' CLIPModel has no weight {}", name);
  }
  return result;
}

TensorMap from_open_clip_names(const TensorMap& weights) {
  TensorMap result;
  for (const auto& [full_name, tensor] : weights) {
    std::string name = full_name;
    drop_prefix(name, "text.");
    if (name == "attn_mask" || name == "input_resolution" || name == "context_length" || name == "vocab_size")
      continue;  // not weights: a buffer of open_clip's, and numbers in OpenAI's archives
    if (name == "text_projection.weight") {
      result["text_projection"] = transpose(name, tensor);
    } else if (name == "text_projection.bias") {
      result["text_projection_bias"] = tensor;
    } else {
      result[name] = tensor;
    }
  }
  return result;
}

TensorMap to_open_clip_names(const TensorMap& weights) {
  TensorMap result = weights;
  if (auto bias = result.extract("text_projection_bias")) {
    bias.key() = "text_projection.bias";
    result.insert(std::move(bias));
    result["text_projection.weight"] = transpose("text_projection", result.at("text_projection"));
    result.erase("text_projection");
  }
  return result;
}

}  // namespace gondola
