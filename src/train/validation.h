#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "data/dataset.h"
#include "text/clip_tokenizer.h"
#include "train/recipe.h"

namespace gondola {

/// Encoders in evaluation mode, which compute as the exported model will: n rows, not normalised, fp32, on the recipe's
/// device.
struct Encoders {
  std::function<at::Tensor(const at::Tensor& pixels)> images;
  std::function<at::Tensor(const at::Tensor& ids)> texts;
};

/// Evaluates a set: labelled samples by zero-shot classification among the set's class names ("zero_shot_top1",
/// "zero_shot_top5", in per cent), others by retrieval between images and all their captions ("image_to_text_recall@1",
/// 5, 10 and "text_to_image_recall@…"). None if interrupted.
std::optional<std::map<std::string, double>> validate(const Dataset& dataset, const ClipTokenizer& tokenizer,
                                                      const Recipe& recipe, const Encoders& encoders);

}  // namespace gondola
