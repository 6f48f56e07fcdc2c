#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cli/command.h"
#include "pipeline/loaded_model.h"

namespace gondola::cli {

/// Says that an image has no result: {"image", "error"} on stdout with --json, else a line on stderr.
void report_failure(const GlobalOptions& global, const std::string& image, const std::string& error);

/// Embeds the images and calls `show` with each one's index and its embedding, which is not normalised, in order. It
/// returns what is wrong with it, or nothing. One that fails is reported in its place. Progress is shown, unless
/// `show_prints` to the terminal, which says as much. Returns the exit status: 1 when any failed. Throws Error once
/// interrupted, where interrupts are caught.
int for_each_embedding(const GlobalOptions& global, LoadedModel& model, std::span<const std::string> images,
                       bool apply_exif_orientation, bool show_prints,
                       const std::function<std::string(std::size_t index, std::span<const float> embedding)>& show);

struct TableRow {
  std::string name, values;
};

/// The image's path, and below it the rows, indented, with their values aligned.
void print_table(const std::string& image, const std::vector<TableRow>& rows);

}  // namespace gondola::cli
