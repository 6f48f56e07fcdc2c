#pragma once

#include "checkpoint/tensor.h"

namespace gondola {

/// The weights of transformers' CLIPModel under OpenAI's names: queries, keys and values joined, projections
/// transposed. Throws Error for a name that CLIPModel does not have.
TensorMap from_hugging_face_names(const TensorMap& weights);
TensorMap to_hugging_face_names(const TensorMap& weights);

/// The weights of open_clip (also of its CustomTextCLIP, whose text tower is below "text.") or of OpenAI under OpenAI's
/// names.
TensorMap from_open_clip_names(const TensorMap& weights);
TensorMap to_open_clip_names(const TensorMap& weights);

}  // namespace gondola
