#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "data/tar.h"

namespace gondola {

/// The largest sizes.json that is read, in bytes.
inline constexpr std::uint64_t max_sizes_json_bytes = 64 << 20;

/// Files behind URLs (data/download.h), which four threads fetch ahead of their use. The most recently used ones are
/// kept in a folder that several processes may share. Thread-safe.
class RemoteFiles {
 public:
  /// The folder keeps `kept` files, which must be more than are used at a time.
  explicit RemoteFiles(std::filesystem::path folder, std::size_t kept = 32);
  ~RemoteFiles();

  /// Opens the file, waiting until it is here. Throws Error that names the URL when it cannot be fetched; that is
  /// retried after half an hour.
  std::unique_ptr<RandomAccessFile> open(const std::string& url);

  /// Downloads a small file, such as a sizes.json, and returns its contents; nothing when the server does not have it.
  std::optional<std::string> read(const std::string& url) const;

  /// Fetches the files that are not here yet, in this order, after those requested before. Failed ones are tried again.
  void prefetch(const std::vector<std::string>& urls);

 private:
  struct File {
    enum { queued, loading, here, failed } state = queued;
    std::string error;
    std::chrono::steady_clock::time_point failed_at = {};
  };
  void work();
  void stop();
  void fetch(const std::string& url);
  void drop_old_files() const;
  std::filesystem::path path_of(const std::string& url) const;

  std::filesystem::path folder_;
  std::size_t kept_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, File> files_;
  std::deque<std::string> queue_;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace gondola
