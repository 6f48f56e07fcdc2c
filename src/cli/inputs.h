#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"

namespace gondola::cli {

inline constexpr const char* image_argument_help =
    "image file, folder of images, or - to read paths from stdin, one per line (or from find -print0)";

/// The image files that the IMAGE arguments name: a file stands for itself, a folder for the images in it (by
/// extension, recursively, through links, in name order, without hidden ones; stderr tells of those that are of other
/// formats), "-" for the paths on stdin, one a line or each with a NUL after it. A path that does not exist is kept:
/// reading it fails like any other bad input, and so is a folder that cannot be read or has no images. Throws Error
/// when stdin is empty or an image itself.
std::vector<std::string> expand_images(const std::vector<std::string>& arguments);

/// The image that one of those paths names. Throws Error.
Image read_image(const std::string& path, const DecodeOptions& options = {});

/// A check of options that are texts: what is wrong with one, or nothing.
std::string what_is_no_text(const std::string& argument);

/// Calls visit(line) with each line of a file. Throws Error when one is not UTF-8.
void for_each_text_line(const std::filesystem::path& file, const std::function<void(std::string_view)>& visit);

/// The lines that for_each_text_line visits. Throws Error like it.
std::vector<std::string> read_text_lines(const std::filesystem::path& file);

/// The labels without blanks around them, without empty ones, and each once: a second would share its score.
std::vector<std::string> distinct_labels(const std::vector<std::string>& labels);

/// The labels of a file, one a line, likewise. Throws Error when it has none, or is not UTF-8.
std::vector<std::string> read_labels(const std::filesystem::path& file);

}  // namespace gondola::cli
