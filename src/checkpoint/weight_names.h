#pragma once

#include "checkpoint/tensor.h"

namespace gondola {

/// Renames the weights of transformers' CLIPModel to OpenAI's names, joins queries, keys and values, and transposes the
/// projections. Throws Error for a name that CLIPModel does not have.
TensorMap from_hugging_face_names(const TensorMap& weights);
TensorMap to_hugging_face_names(const TensorMap& weights);

/// Renames the weights of open_clip or OpenAI to OpenAI's names; also those of open_clip's CustomTextCLIP, whose text
/// tower is under "text.".
TensorMap from_open_clip_names(const TensorMap& weights);
TensorMap to_open_clip_names(const TensorMap& weights);

}  // namespace gondola
