#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cli/command.h"
#include "pipeline/loaded_model.h"

namespace gondola::cli {

/// Reports that an image has no result: {"image", "error"} on stdout with --json, else a line on stderr.
void report_failure(const GlobalOptions& global, const std::string& image, const std::string& error);

/// Embeds the images and calls `show` for each in order, with its index and its embedding, which is not normalised;
/// `show` returns what is wrong with it, or an empty string. Images that fail are reported in their turn. Shows
/// progress, unless `prints_results` and stdout is a terminal, where the results show it. Returns the exit status: 1 if
/// any image failed. Throws Error once interrupted, if interrupts are caught.
int for_each_embedding(const GlobalOptions& global, LoadedModel& model, std::span<const std::string> images,
                       bool apply_exif_orientation, bool prints_results,
                       const std::function<std::string(std::size_t index, std::span<const float> embedding)>& show);

struct TableRow {
  std::string name, values;
};

/// Prints the image's path and, below it, the rows, indented and with their values aligned.
void print_table(const std::string& image, const std::vector<TableRow>& rows);

}  // namespace gondola::cli
