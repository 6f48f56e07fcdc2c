#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <ranges>
#include <span>
#include <string>

#include "base/file.h"

namespace gondola {

/// Bytes that `owner` keeps alive: part of a mapped file, or inflated ones.
struct SharedBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// A mapped ZIP file (PKWARE APPNOTE 6.3) with stored or deflated entries; ZIP64 sizes are supported. Every offset and
/// size is checked against the file; what does not fit throws Error that names the file and the entry.
class ZipArchive {
 public:
  explicit ZipArchive(const std::filesystem::path& path);

  /// Whether the file starts like a ZIP file.
  static bool is_zip(std::span<const std::byte> bytes);

  bool contains(const std::string& name) const { return entries_.contains(name); }
  auto names() const { return std::views::keys(entries_); }
  /// Size of the file plus the bytes inflated so far.
  std::uint64_t size() const { return file_->bytes().size() + inflated_; }
  /// Reads an entry. Throws Error when there is none of that name, when too much has been inflated in all, and when the
  /// CRC-32 does not match; that of a stored entry is only checked with `check_stored`.
  SharedBytes read(const std::string& name, bool check_stored = false);

 private:
  struct Entry {
    std::uint64_t header = 0, compressed = 0, size = 0;
    std::uint32_t crc = 0;
    std::uint16_t method = 0, flags = 0;
  };

  void read_directory(std::uint64_t offset, std::uint64_t size, std::uint64_t count);
  void check(const std::string& name, const Entry& entry, std::span<const std::byte> data) const;
  [[noreturn]] void refuse(const std::string& what) const;

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Entry> entries_;
  std::uint64_t inflated_ = 0;
};

}  // namespace gondola
