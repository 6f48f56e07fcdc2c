#pragma once

#include <cstdint>
#include <span>

#include "image/preprocess.h"

namespace gondola {

/// Random changes of a training image, each drawn from the sample's own seed.
struct AugmentConfig {
  double min_crop_area = 0.9;         ///< a random crop of at least this share of the area (open_clip: 0.9)
  double max_aspect_ratio = 4.0 / 3;  ///< the crop's lies between its inverse and it; 1: shares of the largest square
  double flip_probability = 0;        ///< left to right; mirrors written words and sides, so off by default
  /// Multiplies each colour's detail, i.e. what a quarter of the tower's resolution does not hold, by a random factor
  /// of its own from 0 to this one; 0: no change. JPEG halves the resolution of the colours but not of the brightness:
  /// small training images have hardly any colour detail, whereas photos reduced to their size do.
  double max_detail = 0;
  double erase_probability = 0;  ///< random erasing (arXiv 1708.04896): a rectangle of 2 to 20 % set to the mean
};

/// Crops, resizes (bicubic like open_clip, whatever the configuration says for inference), converts to RGB and
/// normalises. out: 3 × size × size. Depends only on the image, the configurations and the seed.
void augment(const Image& image, const PreprocessConfig& config, const AugmentConfig& augmentation, std::uint64_t seed,
             std::span<float> out);

/// torchvision's RandomResizedCrop.get_params: ten attempts at a rectangle with a random share of the area and a random
/// aspect ratio, else the largest centred one with an allowed aspect ratio. Unlike there, squares are shares of the
/// largest square, since few photos have room for one of nine tenths of their area. `seed` decides.
Window random_crop(int width, int height, const AugmentConfig& augmentation, std::uint64_t seed);

}  // namespace gondola
