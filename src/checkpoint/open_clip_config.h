#pragma once

#include <string>

#include "base/json.h"
#include "config/model_config.h"
#include "image/preprocess.h"

namespace gondola {

/// Reads an open_clip model configuration ({"embed_dim": …, "vision_cfg": {…}, "text_cfg": {…}}, open_clip/model.py).
/// Throws Error for an unknown field, and for one that would change the result in a way the towers do not support.
/// `origin` names the file in messages.
ModelConfig read_open_clip_config(const Json& json, const std::string& origin);

/// Writes a configuration that read_open_clip_config reads back, except for the start token, which open_clip's files do
/// not name. Throws Error for what open_clip cannot express.
nlohmann::ordered_json to_open_clip_config(const ModelConfig& config);

/// Reads "preprocess_cfg" (null: open_clip's defaults) for a tower of the given image size.
PreprocessConfig read_open_clip_preprocess(const Json& json, int image_size, const std::string& origin);
nlohmann::ordered_json to_open_clip_preprocess(const PreprocessConfig& config);

}  // namespace gondola
