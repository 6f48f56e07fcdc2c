#pragma once

#include <string>

#include "pipeline/loaded_model.h"

namespace gondola {

/// All of a model that decides an image's embedding, in words: samples of the weights, the tower's configuration, the
/// preprocessing. What computes it is not among that.
std::string describe_images(const LoadedModel& model);

/// And a text's: samples of the weights, the tower's configuration, the vocabulary. Throws Error when that cannot be
/// read.
std::string describe_texts(const LoadedModel& model);

}  // namespace gondola
