#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "image/image.h"

namespace gondola::cli {

inline constexpr const char* image_argument_help =
    "image file, folder of images, or - for paths from stdin, one a line (or of find -print0)";

/// The image files that the IMAGE arguments name: a file stands for itself, a folder for the images in it (by
/// extension, recursively, in name order, without hidden ones; stderr tells of those that are of other formats), "-"
/// for the paths on stdin, one a line or each with a NUL after it. A path that does not exist is kept: reading it fails
/// like any other bad input, and so is a folder that cannot be read or has no images. Throws Error when stdin is empty
/// or an image itself.
std::vector<std::string> expand_images(const std::vector<std::string>& arguments);

/// The image that one of those paths names. Throws Error.
Image read_image(const std::string& path, const DecodeOptions& options = {});

/// The lines of a file. Throws Error when one is not UTF-8.
std::vector<std::string> read_text_lines(const std::filesystem::path& file);

/// The labels without blanks around them, without empty ones, and each once: a second would share its score.
std::vector<std::string> distinct_labels(const std::vector<std::string>& labels);

/// The labels of a file, one a line, likewise. Throws Error when it has none, or is not UTF-8.
std::vector<std::string> read_labels(const std::filesystem::path& file);

}  // namespace gondola::cli
