#pragma once

#include <array>
#include <span>

#include "image/image.h"
#include "image/resample.h"

namespace gondola {

/// How an image is fitted to the tower's square.
enum class ResizeMode {
  shortest,  ///< scale the shorter side to the size, then crop the centre
  longest,   ///< scale the longer side to the size, then pad (open_clip)
  squash,    ///< scale both sides to the size
};

/// Whose preprocessing a model was trained for; they differ in ways that change pixels.
enum class PreprocessLibrary {
  torchvision,   ///< OpenAI's and open_clip's: transparency is dropped after the crop, whose offset is rounded half to
                 ///< even; bytes are divided by 255 in fp32
  transformers,  ///< transparency is composited onto white and the image converted to RGB before it is resized; the
                 ///< crop's offset is rounded down; bytes are multiplied by 1/255 in fp64, then rounded
};

/// How to turn an image into the input of the image tower.
struct PreprocessConfig {
  int size = 224;
  ResizeMode resize_mode = ResizeMode::shortest;
  Interpolation interpolation = Interpolation::bicubic;
  std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  std::array<float, 3> std = {0.26862954f, 0.26130258f, 0.27577711f};
  std::uint8_t fill = 0;  ///< of the padding in ResizeMode::longest
  PreprocessLibrary library = PreprocessLibrary::torchvision;
  bool operator==(const PreprocessConfig&) const = default;
};

/// Fills out: 3 × size × size, planar RGB, normalised. Throws Error when the image is too elongated to be resized.
void preprocess(Image image, const PreprocessConfig& config, std::span<float> out);

/// The normalised value of each byte in each channel, in the library's arithmetic.
using NormalizationTable = std::array<std::array<float, 256>, 3>;
NormalizationTable normalization_table(const PreprocessConfig& config);

}  // namespace gondola
