#pragma once

#include <array>
#include <span>

#include "image/image.h"
#include "image/resample.h"

namespace gondola {

/// How an image is brought to the square of the tower.
enum class ResizeMode {
  shortest,  ///< shorter side to the size, then the centre crop
  longest,   ///< longer side to the size, then padding (open_clip)
  squash,    ///< both sides to the size
};

/// From an image to what the image tower is fed. The families differ in ways that change pixels.
struct PreprocessConfig {
  int size = 224;
  ResizeMode resize_mode = ResizeMode::shortest;
  Interpolation interpolation = Interpolation::bicubic;
  std::array<float, 3> mean = {0.48145466f, 0.4578275f, 0.40821073f};
  std::array<float, 3> std = {0.26862954f, 0.26130258f, 0.27577711f};
  /// transformers composites transparency onto white and converts to RGB before resizing; OpenAI and open_clip drop it
  /// after the crop.
  bool rgb_first = false;
  bool floor_crop_offset = false;  ///< transformers: (h−c)/2 rounded down; torchvision: half to even
  std::uint8_t fill = 0;           ///< of the padding of ResizeMode::longest
  /// transformers multiplies by 1/255 (float64, then rounded) and computes (x − mean) / std in its own order;
  /// torchvision divides a float32 by 255.
  bool rescale_by_reciprocal = false;
  bool operator==(const PreprocessConfig&) const = default;
};

/// out: 3 × size × size, planar RGB, normalised. Throws Error when the image is too elongated to be resized.
void preprocess(const Image& image, const PreprocessConfig& config, std::span<float> out);

/// The value of each byte of each channel once normalised, in the arithmetic of the family.
using NormalizationTable = std::array<std::array<float, 256>, 3>;
NormalizationTable normalization_table(const PreprocessConfig& config);

}  // namespace gondola
