#pragma once

#include <string>
#include <vector>

namespace gondola::cli {

inline constexpr const char* image_argument_help = "image file, folder of images, or - for paths from stdin";

/// The image files that the IMAGE arguments name: a file stands for itself, a folder for the images in it (by
/// extension, recursively, in name order), "-" for the paths on stdin, one a line. A path that does not exist is kept:
/// reading it fails like any other bad input. Throws Error for a folder without images.
std::vector<std::string> expand_images(const std::vector<std::string>& arguments);

}  // namespace gondola::cli
