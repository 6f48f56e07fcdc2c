#pragma once

#include <string>

#include "pipeline/loaded_model.h"

namespace gondola {

/// Describes in words everything in a model that decides an image's embedding: samples of the weights, the tower's
/// configuration, the preprocessing. What computes it (device, precision, build) is left out.
std::string image_fingerprint(const LoadedModel& model);

/// Does the same for a text's embedding: samples of the weights, the tower's configuration, the vocabulary. Throws
/// Error when the vocabulary cannot be read.
std::string text_fingerprint(const LoadedModel& model);

}  // namespace gondola
