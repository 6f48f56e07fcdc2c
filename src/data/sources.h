#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
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

/// Whether there is such a file or folder; what is no name of one, as a list of braces that is too long, is not there.
bool is_there(const std::filesystem::path& path);

/// The file that a table names: beside the table, or in images/ there. Throws Error when it is in neither place.
std::filesystem::path resolve_image(const std::filesystem::path& table, const std::string& image);

/// "a-{00..12}.tar" and "{a,b}.tar" expanded, then globbed; sorted within a pattern. A pattern that matches nothing is
/// an Error.
std::vector<std::filesystem::path> expand_pattern(const std::string& pattern);

/// The same of the URLs of .tar files, in the order given; only braces are expanded.
std::vector<std::string> expand_urls(const std::string& pattern);

/// Whether to believe a shard or a row group that claims so many samples, of which its file has room for `room`: their
/// order alone takes so many numbers. That of a million is little, and a file that is still being copied has less room.
constexpr bool is_believable(std::uint64_t samples, std::uint64_t room) {
  return samples <= 1'000'000 || (samples <= 100'000'000 && samples <= room);
}

/// An encoded image of a data set may have this many bytes.
inline constexpr std::uint64_t max_image_bytes = std::uint64_t{1} << 30;

}  // namespace gondola
