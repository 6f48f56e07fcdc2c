#pragma once

#include <string>

#include "base/json.h"
#include "config/model_config.h"
#include "image/preprocess.h"

namespace gondola {

/// Reads config.json of transformers' CLIPModel; absent fields take CLIPConfig's defaults. Throws Error for a model of
/// another type and for a setting that the towers do not support.
ModelConfig read_hugging_face_config(const Json& json, const std::string& origin);

/// Throws Error for what CLIPModel cannot express (a ModifiedResNet, another pooling …).
nlohmann::ordered_json to_hugging_face_config(const ModelConfig& config);

/// Reads preprocessor_config.json for a tower of the given image size, which is the default of absent sizes; other
/// absent fields take CLIPImageProcessor's defaults.
PreprocessConfig read_hugging_face_preprocess(const Json& json, int image_size, const std::string& origin);
nlohmann::ordered_json to_hugging_face_preprocess(const PreprocessConfig& config);

}  // namespace gondola
