#pragma once

#include <filesystem>

namespace gondola {

/// A lock on a file, held by one process at a time. The system releases it when the process dies.
class FileLock {
 public:
  /// Opens or creates the file; does not lock it yet. Throws Error if that fails.
  explicit FileLock(std::filesystem::path path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Takes the lock if it is free; false if another process holds it. Throws Error if the file system has no locks.
  bool try_lock();

  /// The same, but true if the file system has no locks.
  bool try_lock_where_possible();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace gondola
