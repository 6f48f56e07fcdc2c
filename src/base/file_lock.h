#pragma once

#include <filesystem>

namespace gondola {

/// Held by one process at a time; released by the system when that dies.
class FileLock {
 public:
  /// Opens the file, or makes it, and does not lock it yet. Throws Error.
  explicit FileLock(std::filesystem::path path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Whether the lock is held now; if not, another has it. Throws Error where the file system has no locks.
  bool try_lock();

  /// The same, but true where the file system has no locks.
  bool try_lock_where_possible();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace gondola
