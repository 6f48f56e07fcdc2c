#include "cli/inputs.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "text/utf8.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 8> extensions = {".jpg", ".jpeg", ".jpe", ".jfif",
                                                        ".png", ".webp", ".gif", ".bmp"};

bool has_image_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

/// A folder that cannot be read stands for itself: so does reading it as an image fail, and says why.
void find_images(const fs::path& folder, std::vector<fs::path>& found) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;  // of what is gone by now
    if (entry->is_directory(unknown) && !entry->is_symlink(unknown)) {
      find_images(entry->path(), found);
    } else if (entry->is_regular_file(unknown) && has_image_extension(entry->path())) {
      found.push_back(entry->path());
    }
  }
  if (error) found.push_back(folder);
}

void append_expanded(const std::string& argument, std::vector<std::string>& images) {
  std::error_code unknown;
  if (!fs::is_directory(argument, unknown)) {
    images.push_back(argument);
    return;
  }
  std::vector<fs::path> found;
  find_images(argument, found);
  if (found.empty()) fail("{}: no images ({}) in this folder", argument, fmt::join(extensions, ", "));
  std::sort(found.begin(), found.end());
  for (const fs::path& path : found) images.push_back(path.string());
}

std::string trimmed(const std::string& text) {
  constexpr const char* blanks = " \t\r";
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

}  // namespace

std::vector<std::string> expand_images(const std::vector<std::string>& arguments) {
  std::vector<std::string> images;
  for (const std::string& argument : arguments) {
    if (argument != "-") {
      append_expanded(argument, images);
      continue;
    }
    const std::size_t before = images.size();
    const std::string paths{std::istreambuf_iterator<char>(std::cin), {}};
    const char end = paths.find('\0') == std::string::npos ? '\n' : '\0';  // find -print0
    std::istringstream all(paths);
    for (std::string path; std::getline(all, path, end);) {
      if (end == '\n' && path.ends_with('\r')) path.pop_back();
      if (!path.empty()) append_expanded(path, images);
    }
    if (images.size() == before) fail("stdin names no image");
  }
  return images;
}

std::vector<std::string> distinct_labels(const std::vector<std::string>& labels) {
  std::vector<std::string> kept;
  std::set<std::string> seen;
  for (const std::string& label : labels)
    if (std::string text = trimmed(label); !text.empty() && seen.insert(text).second) kept.push_back(std::move(text));
  return kept;
}

std::vector<std::string> read_labels(const fs::path& file) {
  const std::vector<std::string> lines = read_lines(file);
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (!is_valid_utf8(lines[i])) fail("{}:{}: is not UTF-8", file.string(), i + 1);
  std::vector<std::string> labels = distinct_labels(lines);
  if (labels.empty()) fail("{}: has no label", file.string());
  return labels;
}

}  // namespace gondola::cli
