#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/model_files.h"
#include "tests/support/files.h"

namespace gondola::test {

/// A model that tests/reference/models.py wrote, its inputs and PyTorch's embeddings of them.
struct GoldenModel {
  std::string name;
  std::filesystem::path folder;
  std::string file, size;  ///< "vit_openai.pt" in the folder; of the pixels
  std::optional<std::filesystem::path> config;

  struct Images {
    NpyArray<float> pixels, embeddings;
  };
  struct Texts {
    NpyArray<std::int32_t> ids;
    NpyArray<float> embeddings;
  };

  std::string stem() const { return file.substr(0, file.find('.')); }
  ModelFiles load() const { return load_model_files((folder / file).string(), config); }
  Images images() const {
    return {read_npy<float>(folder / ("pixels_" + size + ".npy")),
            read_npy<float>(folder / (stem() + "_image_embeddings.npy"))};
  }
  Texts texts() const {
    return {read_npy<std::int32_t>(folder / (stem() + "_ids.npy")),
            read_npy<float>(folder / (stem() + "_text_embeddings.npy"))};
  }
};

inline void PrintTo(const GoldenModel& model, std::ostream* out) {
  *out << model.name;
}

inline std::vector<GoldenModel> golden_models() {
  std::vector<GoldenModel> models;
  for (const char* file :
       {"vit_openai.pt", "resnet_openai.pt", "vit_scripted.pt", "vit_open_clip", "vit_state_dict.pt", "vit_average",
        "vit_custom_text", "resnet_open_clip", "vit_hf", "vit_hf_legacy", "vit_hf_int8"}) {
    GoldenModel model{"", golden("models"), file, std::string(file).starts_with("resnet") ? "64" : "32", {}};
    model.name = model.stem();
    if (model.name == "vit_state_dict") model.config = golden("models") / "vit_state_dict.json";
    models.push_back(model);
  }
  return models;
}

inline GoldenModel golden_model(const std::string& name) {
  const auto models = golden_models();
  return *std::ranges::find(models, name, &GoldenModel::name);
}

inline std::vector<GoldenModel> full_models(const std::filesystem::path& folder) {
  std::vector<GoldenModel> models;
  for (const char* architecture : {"ViT-B-32", "ViT-L-14", "RN50"})
    for (const char* file : {"openai.pt", "open_clip", "hf"})
      if (std::filesystem::exists(folder / architecture / file))
        models.push_back({std::string(architecture) + " " + file, folder / architecture, file, "224", {}});
  return models;
}

/// The smallest cosine between an embedding and its reference.
inline double worst_cosine(std::span<const float> found, std::span<const float> expected, std::size_t dim) {
  double worst = 1;
  for (std::size_t start = 0; start < expected.size(); start += dim) {
    double product = 0, left = 0, right = 0;
    for (std::size_t i = start; i < start + dim; ++i) {
      product += double{found[i]} * expected[i];
      left += double{found[i]} * found[i];
      right += double{expected[i]} * expected[i];
    }
    worst = std::min(worst, product / std::sqrt(left * right));
  }
  return worst;
}

inline double worst_cosine(std::span<const float> found, const NpyArray<float>& expected) {
  return worst_cosine(found, expected.values, expected.shape[1]);
}

/// The largest difference of an element, relative to its embedding's length.
inline double largest_error(const std::vector<float>& found, const NpyArray<float>& expected) {
  const std::size_t dim = expected.shape.at(1);
  double largest = found.size() == expected.values.size() ? 0 : INFINITY;
  for (std::size_t start = 0; start + dim <= std::min(found.size(), expected.values.size()); start += dim) {
    double square = 0, difference = 0;
    for (std::size_t i = start; i < start + dim; ++i) {
      square += static_cast<double>(expected.values[i]) * expected.values[i];
      difference = std::max(difference, std::abs(static_cast<double>(found[i]) - expected.values[i]));
      if (std::isnan(found[i])) return NAN;
    }
    largest = std::max(largest, difference / std::sqrt(square));
  }
  return largest;
}

}  // namespace gondola::test
