#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"
#include "text/clip_tokenizer.h"

namespace gondola::cli {

inline constexpr const char* image_argument_help =
    "image file, folder of images, or - to read paths from stdin, one per line (or from find -print0)";

/// --exif and --truncate, which several commands have.
void add_exif_flag(CLI::App& command, bool& exif);
void add_truncate_flag(CLI::App& command, Overflow& overflow);

/// Expands the IMAGE arguments to image files: a file stands for itself, a folder for the images in it (by extension,
/// recursively, following links, in name order, without hidden ones; stderr mentions those of unsupported formats), "-"
/// for the paths on stdin, one per line or each followed by NUL. A path that does not exist is kept, as is a folder
/// that cannot be read or has no images: reading it fails like any other bad input. Throws Error when stdin is empty or
/// is itself an image.
std::vector<std::string> expand_images(const std::vector<std::string>& arguments);

/// Reads the image at one of those paths. Throws Error.
Image read_image(const std::string& path, const DecodeOptions& options = {});

/// Checks an option that is a text: returns what is wrong with it, or an empty string.
std::string utf8_error(const std::string& argument);

/// Calls visit(line) with each line of a file. Throws Error if a line is not UTF-8.
void for_each_text_line(const std::filesystem::path& file, const std::function<void(std::string_view)>& visit);

/// The lines that for_each_text_line visits. Throws Error likewise.
std::vector<std::string> read_text_lines(const std::filesystem::path& file);

/// The labels, trimmed, without empty ones and without repetitions: a second one would share the score of the first.
std::vector<std::string> distinct_labels(const std::vector<std::string>& labels);

/// The labels in a file, one per line, likewise. Throws Error when there are none or the file is not UTF-8.
std::vector<std::string> read_labels(const std::filesystem::path& file);

}  // namespace gondola::cli
