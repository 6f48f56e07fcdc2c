#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>

#include "base/cpu.h"
#include "base/json.h"
#include "base/streams.h"
#include "checkpoint/model_files.h"
#include "checkpoint/quantized_weights.h"
#include "cli/command.h"
#include "cli/model.h"
#include "engine/weights.h"

namespace gondola::cli {
namespace {

// Indexed by their enumerations.
constexpr const char* activations[] = {"GELU", "GELU (tanh)", "QuickGELU"};
constexpr const char* text_poolings[] = {"largest id", "end token", "last position", "first position"};
constexpr const char* resize_modes[] = {"shorter side, centre crop", "longer side, padding", "both sides"};
constexpr const char* interpolations[] = {"nearest", "bilinear", "bicubic"};

nlohmann::ordered_json describe_image_tower(const ImageTowerConfig& image) {
  nlohmann::ordered_json json;
  if (image.architecture == ImageArchitecture::modified_resnet) {
    json = {{"architecture", "ModifiedResNet"},
            {"image_size", image.image_size},
            {"width", image.width},
            {"stage_blocks", image.stage_blocks},
            {"heads", image.heads}};
  } else {
    json = {{"architecture", "ViT"},
            {"image_size", image.image_size},
            {"patch_size", image.patch_size},
            {"width", image.width},
            {"layers", image.layers},
            {"heads", image.heads},
            {"mlp_width", image.mlp_width},
            {"activation", activations[static_cast<std::size_t>(image.activation)]},
            {"pooling", image.pooling == ImagePooling::average ? "average" : "class token"}};
  }
  return json;
}

nlohmann::ordered_json describe_text_tower(const TextTowerConfig& text) {
  return {{"context_length", text.context_length},
          {"vocab_size", text.vocab_size},
          {"width", text.width},
          {"layers", text.layers},
          {"heads", text.heads},
          {"mlp_width", text.mlp_width},
          {"activation", activations[static_cast<std::size_t>(text.activation)]},
          {"causal", text.causal},
          {"pooling", text_poolings[static_cast<std::size_t>(text.pooling)]}};
}

nlohmann::ordered_json describe_weights(const ModelFiles& model) {
  std::map<std::string, std::int64_t> types;
  for (const auto& [weight, tensor] : model.weights) types[std::string(name(tensor.type))] += tensor.elements();
  return types;
}

/// How many of the transformers' linear layers are stored in int8.
nlohmann::ordered_json describe_quantization(const ModelFiles& model) {
  if (!is_quantized(model.weights)) return nullptr;
  const bool vit = model.config.image.architecture == ImageArchitecture::vit;
  const std::int64_t layers = std::int64_t{4} * (model.config.text.layers + (vit ? model.config.image.layers : 0));
  const std::int64_t int8 =
      std::ranges::count_if(model.weights, [](const auto& weight) { return weight.second.type == DType::int8; });
  return {{"int8_layers", int8}, {"other_layers", layers - int8}};
}

nlohmann::ordered_json describe(const ModelFiles& model, const GlobalOptions& global) {
  const ParameterCount parameters = count_parameters(model.config);
  const ForwardFlops flops = count_forward_flops(model.config);
  constexpr double giga = 1e9;
  return {{"model", model.config.name},
          {"layout", model.layout},
          {"source", model.source.string()},
          {"vocabulary", model.vocabulary ? nlohmann::ordered_json(model.vocabulary->string()) : nullptr},
          {"embed_dim", model.config.embed_dim},
          {"loss", model.config.sigmoid_loss ? "sigmoid" : "softmax"},
          {"image_tower", describe_image_tower(model.config.image)},
          {"text_tower", describe_text_tower(model.config.text)},
          {"preprocessing",
           {{"resize", resize_modes[static_cast<std::size_t>(model.preprocess.resize_mode)]},
            {"interpolation", interpolations[static_cast<std::size_t>(model.preprocess.interpolation)]},
            {"mean", model.preprocess.mean},
            {"std", model.preprocess.std}}},
          {"parameters", {{"image", parameters.image}, {"text", parameters.text}, {"total", parameters.total}}},
          {"gflops", {{"image", flops.image / giga}, {"text", flops.text / giga}}},
          {"stored_values", describe_weights(model)},
          {"quantization", describe_quantization(model)},
          {"device", global.device},
          {"isa", name(active_isa())},
          {"precision",
           {{"image", name(tower_precision(global, model, "image"))},
            {"text", name(tower_precision(global, model, "text"))}}}};
}

/// Prints one line per key; the fields of an object share a line.
void print_text(const nlohmann::ordered_json& description) {
  const std::function<std::string(const nlohmann::ordered_json&)> written = [&](const nlohmann::ordered_json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_float()) return fmt::format("{:.4g}", value.get<double>());
    if (!value.is_array()) return value.dump();
    std::vector<std::string> elements;
    for (const auto& element : value) elements.push_back(written(element));
    return fmt::format("[{}]", fmt::join(elements, ", "));
  };
  for (const auto& [key, value] : description.items()) {
    std::string text;
    if (value.is_object()) {
      for (const auto& [field, inner] : value.items())
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", field, written(inner));
    } else {
      text = value.is_null() ? "none" : written(value);
    }
    print_line("{:<14} {}", key, text);
  }
}

}  // namespace

void add_info(CLI::App& app, const GlobalOptions& global, int& /*status*/) {
  CLI::App* command = app.add_subcommand("info", "Describe a model: architecture, parameters, FLOPs, provenance");
  command->footer("Example: gondola info ViT-B-32.pt");
  command->callback([&global] {
    const ModelFiles files = load_files(global);
    check_weights(files.config, files.weights);
    const nlohmann::ordered_json description = describe(files, global);
    if (global.json) {
      print_json_line(description);
    } else {
      print_text(description);
    }
  });
}

}  // namespace gondola::cli
