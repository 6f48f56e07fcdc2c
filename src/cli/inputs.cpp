#include "cli/inputs.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <span>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/find_files.h"
#include "base/interrupt.h"
#include "base/streams.h"
#include "base/utf8.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

/// Common image formats that are not supported.
constexpr std::array<std::string_view, 14> unsupported_extensions = {
    ".heic", ".heif", ".avif", ".jxl", ".tif", ".tiff", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"};

struct FoundImages {
  std::vector<std::string> paths;
  std::map<std::string, std::size_t> unsupported;  ///< images of such formats, by extension
};

/// A folder that cannot be read stands for itself: reading it as an image fails too, and says why.
FoundImages find_images(const fs::path& folder) {
  FoundImages found;
  find_files(
      folder,
      [&](const fs::directory_entry& file) {
        stop_if_interrupted();
        const std::string extension = file.path().extension().string(), lower = lower_ascii(extension);
        if (is_image_extension(extension)) found.paths.push_back(file.path().string());
        if (std::ranges::find(unsupported_extensions, lower) != unsupported_extensions.end())
          ++found.unsupported[lower];
      },
      [&](const fs::path& unreadable, std::error_code) { found.paths.push_back(unreadable.string()); });
  return found;
}

void append_expanded(const std::string& argument, std::vector<std::string>& images) {
  std::error_code unknown;
  if (!fs::is_directory(argument, unknown)) {
    images.push_back(argument);
    return;
  }
  FoundImages found = find_images(argument);
  for (const auto& [extension, count] : found.unsupported)
    print_error("gondola: {}: {} {} left out: format not supported, convert to JPEG or PNG first", argument, count,
                extension);
  if (found.paths.empty()) found.paths.push_back(argument);  // read_image reports it
  // Component by component, as fs::path orders them: "a/b" before "a-b".
  const auto rank = [](char c) { return static_cast<unsigned char>(c == '/' ? '\0' : c); };
  std::ranges::sort(found.paths, [&](const std::string& a, const std::string& b) {
    return std::ranges::lexicographical_compare(a, b, {}, rank, rank);
  });
  std::ranges::move(found.paths, std::back_inserter(images));
}

/// Whether the bytes may be text although they start like an image, as paths can: "BMW/1.jpg", "GIF89a.gif".
bool may_be_text(std::string_view bytes) {
  bytes = bytes.substr(0, 32);
  const auto is_control = [](char c) { return c > 0 && c < ' ' && c != '\n' && c != '\r' && c != '\t'; };
  return std::ranges::none_of(bytes, is_control) && bytes.find(std::string_view("\0\0", 2)) == std::string_view::npos;
}

std::string trimmed(const std::string& text) {
  constexpr const char* blanks = " \t\r";
  const std::size_t first = text.find_first_not_of(blanks);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

}  // namespace

void add_exif_flag(CLI::App& command, bool& exif) {
  command.add_flag("--exif", exif, "turn images upright according to their EXIF orientation");
}

void add_truncate_flag(CLI::App& command, Overflow& overflow) {
  command.add_flag_callback(
      "--truncate", [&overflow] { overflow = Overflow::truncate; },
      "cut texts that are longer than the model's context");
}

std::vector<std::string> expand_images(const std::vector<std::string>& arguments) {
  std::vector<std::string> images;
  for (const std::string& argument : arguments) {
    if (argument != "-") {
      append_expanded(argument, images);
      continue;
    }
    const std::size_t before = images.size();
    std::string paths{std::istreambuf_iterator<char>(std::cin), {}};
    if (paths.starts_with("\xef\xbb\xbf")) paths.erase(0, 3);  // the byte order mark of Windows
    if (is_image(std::as_bytes(std::span(paths))) && !may_be_text(paths))
      fail("stdin is an image, expected paths of images, one per line");
    const char end = paths.find('\0') == std::string::npos ? '\n' : '\0';  // find -print0
    for (std::size_t at = 0; at < paths.size();) {
      const std::size_t next = std::min(paths.find(end, at), paths.size());
      std::string path = paths.substr(at, next - at);
      at = next + 1;
      if (end == '\n' && path.ends_with('\r')) path.pop_back();
      stop_if_interrupted();
      if (is_image_extension(fs::path(path).extension().string()))  // there may be millions: none is looked at
        images.push_back(std::move(path));
      else if (!path.empty())
        append_expanded(path, images);
    }
    if (images.size() == before) fail("stdin names no image");
  }
  return images;
}

Image read_image(const std::string& path, const DecodeOptions& options) {
  try {
    return load_image(path, options);
  } catch (const Error&) {
    std::error_code unreadable;
    const fs::directory_iterator folder(path, unreadable);
    if (unreadable) throw;
    if (is_image_extension(fs::path(path).extension().string()))
      fail("{0}: is a folder; write {0}/ for the images in it", path);
    fail("{}: no images ({}) in this folder", path, fmt::join(image_extensions, ", "));
  }
}

std::vector<std::string> distinct_labels(const std::vector<std::string>& labels) {
  std::vector<std::string> kept;
  std::set<std::string> seen;
  for (const std::string& label : labels)
    if (std::string text = trimmed(label); !text.empty() && seen.insert(text).second) kept.push_back(std::move(text));
  return kept;
}

std::string utf8_error(const std::string& argument) {
  return is_valid_utf8(argument) ? "" : "expected UTF-8: " + argument;
}

void for_each_text_line(const fs::path& file, const std::function<void(std::string_view)>& visit) {
  std::size_t number = 0;
  for_each_line(file, [&](std::string_view line) {
    ++number;
    if (!is_valid_utf8(line)) fail("{}:{}: is not UTF-8", file.string(), number);
    visit(line);
  });
}

std::vector<std::string> read_text_lines(const fs::path& file) {
  std::vector<std::string> lines;
  for_each_text_line(file, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

std::vector<std::string> read_labels(const fs::path& file) {
  std::vector<std::string> labels = distinct_labels(read_text_lines(file));
  if (labels.empty()) fail("{}: has no label", file.string());
  return labels;
}

}  // namespace gondola::cli
