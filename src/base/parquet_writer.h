#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace gondola {

/// Writes a Parquet file of one required string column, uncompressed, atomically. Bytes that are not UTF-8 (a file name
/// may hold any) become U+FFFD, since readers refuse them.
void write_parquet(const std::filesystem::path& path, const std::string& column, std::span<const std::string> values);

}  // namespace gondola
