#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace gondola::cli {

inline constexpr const char* image_argument_help =
    "image file, folder of images, or - for paths from stdin, one a line (or of find -print0)";

/// The image files that the IMAGE arguments name: a file stands for itself, a folder for the images in it (by
/// extension, recursively, in name order), "-" for the paths on stdin, one a line or each with a NUL after it. A path
/// that does not exist is kept: reading it fails like any other bad input, and so is a folder that cannot be read.
/// Throws Error for a folder without images and an empty stdin.
std::vector<std::string> expand_images(const std::vector<std::string>& arguments);

/// The labels without blanks around them, without empty ones, and each once: a second would share its score.
std::vector<std::string> distinct_labels(const std::vector<std::string>& labels);

/// The labels of a file, one a line, likewise. Throws Error when it has none, or is not UTF-8.
std::vector<std::string> read_labels(const std::filesystem::path& file);

}  // namespace gondola::cli
