#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"

namespace gondola {

/// Bytes of a file's mapping, or inflated ones, that `owner` keeps alive.
struct SharedBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// A ZIP file (PKWARE APPNOTE 6.3), mapped; entries stored or deflated, sizes of 64 bits too. Every offset and size is
/// checked against the file; what does not fit is an Error that names the file and the entry.
class ZipArchive {
 public:
  explicit ZipArchive(const std::filesystem::path& path);

  /// Whether the file starts like a ZIP file.
  static bool is_zip(std::span<const std::byte> bytes);

  bool contains(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> names() const;
  /// Bytes of the file, and of what was inflated so far.
  std::uint64_t size() const { return file_->bytes().size() + inflated_; }
  /// Throws Error when there is no such entry, when all that was inflated so far gets too large, and when its CRC-32 is
  /// another: that of a deflated entry or, with `check_stored`, of any.
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
