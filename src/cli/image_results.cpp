#include "cli/image_results.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/streams.h"
#include "cli/inputs.h"
#include "pipeline/embed.h"

namespace gondola::cli {
namespace {

/// Code points of the printed name, i.e. terminal columns, except for wide and combining characters.
std::size_t columns(const std::string& name) {
  const std::string text = printable(name);
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xc0) != 0x80; }));
}

/// Throws Error when many images in a row have failed and the folder of the last good one is gone: if the disk was
/// lost, the rest, hours of work, would fail as well, at full speed.
void stop_if_folder_is_gone(const std::string& last_good, std::size_t failures_in_a_row) {
  constexpr std::size_t many = 1000;
  if (last_good.empty() || failures_in_a_row % many != 0) return;
  std::error_code unknown;
  const auto folder = std::filesystem::absolute(last_good, unknown).parent_path();
  if (!path_exists(folder))
    fail("{} images in a row cannot be read, and {} is gone", failures_in_a_row, folder.string());
}

}  // namespace

void report_failure(const GlobalOptions& global, const std::string& image, const std::string& error) {
  if (global.json) {
    print_json_line({{"image", image}, {"error", error}});
  } else {
    print_error("gondola: {}{}", error.starts_with(image) ? "" : image + ": ", error);
  }
}

int for_each_embedding(const GlobalOptions& global, LoadedModel& model, std::span<const std::string> images,
                       bool apply_exif_orientation, bool prints_results,
                       const std::function<std::string(std::size_t index, std::span<const float> embedding)>& show) {
  int status = 0;
  std::size_t failures_in_a_row = 0;
  std::string last_good;
  Progress progress("images", images.size(), "done");
  const bool seen = prints_results && ::isatty(STDOUT_FILENO) == 1;
  const DecodeOptions decode{.apply_exif_orientation = apply_exif_orientation};
  embed_images(
      model.image_stages(), images.size(), [&](std::size_t index) { return read_image(images[index], decode); },
      [&](const ImageEmbedding& result) {
        const std::string error = result.error.empty() ? show(result.index, result.values) : result.error;
        if (!error.empty()) {
          progress.clear();
          report_failure(global, images[result.index], error);
          status = 1;
          stop_if_folder_is_gone(last_good, ++failures_in_a_row);
        } else {
          failures_in_a_row = 0;
          last_good = images[result.index];
        }
        stop_if_interrupted();
        if (images.size() > 1 && !seen) progress.update(result.index + 1);
      });
  return status;
}

void print_table(const std::string& image, const std::vector<TableRow>& rows) {
  std::size_t width = 0;
  for (const TableRow& row : rows) width = std::max(width, columns(row.name));
  print_line("{}", image);
  for (const TableRow& row : rows)
    print_line("  {}{}  {}", row.name, std::string(width - columns(row.name), ' '), row.values);
}

}  // namespace gondola::cli
