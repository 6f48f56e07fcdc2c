#pragma once

#include <cstdint>
#include <span>

#include "image/preprocess.h"

namespace gondola {

/// Random changes of a training image, each drawn from the sample's own seed.
struct AugmentConfig {
  double min_crop_area = 0.9;         ///< a random crop of this share of the area up to all of it (open_clip: 0.9)
  double max_aspect_ratio = 4.0 / 3;  ///< of the crop, and its inverse; 1: squares, of a share of the largest one
  double flip_probability = 0;        ///< left to right; mirrors written words and sides, so off by default
  /// Each colour's detail, which a quarter of the tower's resolution does not hold, times its own random factor from 0
  /// to this one; 0: as it is. JPEG halves the resolution of the colours, not of the light: small training pictures
  /// have hardly any detail in colour, which photos reduced to their size have.
  double max_detail = 0;
  double erase_probability = 0;  ///< random erasing (arXiv 1708.04896): a rectangle of 2 to 20 % set to the mean
};

/// Crop, resize (bicubic, as open_clip does whatever the configuration says of inference), convert to RGB, normalise.
/// out: 3 × size × size. Depends on image, configurations and seed alone.
void augment(const Image& image, const PreprocessConfig& config, const AugmentConfig& augmentation, std::uint64_t seed,
             std::span<float> out);

/// torchvision's RandomResizedCrop.get_params: ten attempts at a rectangle of a random share of the area and a random
/// aspect ratio, else the largest centred one whose aspect ratio is allowed; but squares are shares of the largest
/// square, since few photos have one of nine tenths of their area. `seed` decides.
Window random_crop(int width, int height, const AugmentConfig& augmentation, std::uint64_t seed);

}  // namespace gondola
