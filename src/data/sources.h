#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace gondola {

/// The kinds of source behind open_dataset, each in its own file.
std::unique_ptr<Dataset> open_class_folders(const std::filesystem::path& folder,
                                            const std::vector<std::string>& templates);
std::unique_ptr<Dataset> open_csv(const std::filesystem::path& path, char separator);
std::unique_ptr<Dataset> open_parquet(const std::vector<std::filesystem::path>& paths);
std::unique_ptr<Dataset> open_webdataset(const std::vector<std::filesystem::path>& shards);
std::unique_ptr<Dataset> open_remote_webdataset(const std::vector<std::string>& urls);

/// The path of an image that a table names: beside the table, or in images/ there. Throws Error when it is in neither.
std::filesystem::path resolve_image(const std::filesystem::path& table, const std::string& image);

/// Expands "a-{00..12}.tar" and "{a,b}.tar", then globs; the paths are sorted. Throws Error for a pattern that matches
/// nothing.
std::vector<std::filesystem::path> expand_pattern(const std::string& pattern);

/// Does the same for URLs of .tar files, in the order given; only braces are expanded.
std::vector<std::string> expand_urls(const std::string& pattern);

/// Whether a shard or row group can have the samples it claims, given that its file has room for `room`: shuffling
/// stores a number for each. Up to a million always are: they cost little, and a file still being copied has less room.
constexpr bool is_plausible(std::uint64_t samples, std::uint64_t room) {
  return samples <= 1'000'000 || (samples <= 100'000'000 && samples <= room);
}

/// The largest encoded image that a data set may hold, in bytes.
inline constexpr std::uint64_t max_image_bytes = std::uint64_t{1} << 30;

}  // namespace gondola
