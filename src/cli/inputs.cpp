#include "cli/inputs.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>

#include "base/error.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

bool has_image_extension(const fs::path& path) {
  static constexpr std::array<std::string_view, 6> extensions = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

std::vector<std::string> images_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && has_image_extension(entry.path())) found.push_back(entry.path());
  if (found.empty()) fail("{}: no images (.jpg, .jpeg, .png, .webp, .gif, .bmp) in this folder", folder.string());
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (const fs::path& path : found) names.push_back(path.string());
  return names;
}

void append_expanded(const std::string& argument, std::vector<std::string>& images) {
  std::error_code ignored;
  if (!fs::is_directory(argument, ignored)) {
    images.push_back(argument);
    return;
  }
  try {
    const std::vector<std::string> found = images_in(argument);
    images.insert(images.end(), found.begin(), found.end());
  } catch (const fs::filesystem_error& error) {
    fail("{}: cannot read the folder: {}", argument, error.code().message());
  }
}

}  // namespace

std::vector<std::string> expand_images(const std::vector<std::string>& arguments) {
  std::vector<std::string> images;
  for (const std::string& argument : arguments) {
    if (argument != "-") {
      append_expanded(argument, images);
      continue;
    }
    for (std::string line; std::getline(std::cin, line);)
      if (!line.empty()) append_expanded(line, images);
  }
  return images;
}

}  // namespace gondola::cli
