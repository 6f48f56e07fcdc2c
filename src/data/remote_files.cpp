#include "data/remote_files.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "data/download.h"
#include "data/sources.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;
constexpr auto retry_after = std::chrono::minutes(30);  // all files of a window may have failed by then

void touch(const fs::path& path) {
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
}

}  // namespace

RemoteFiles::RemoteFiles(fs::path folder, std::size_t kept) : folder_(std::move(folder)), kept_(kept) {
  make_folder(folder_);
  constexpr int downloads_at_a_time = 4;
  try {
    for (int i = 0; i < downloads_at_a_time; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    stop();
    fail("{}: cannot start a thread for downloads: {}", folder_.string(), error.what());
  } catch (...) {  // out of memory
    stop();
    throw;
  }
}

RemoteFiles::~RemoteFiles() {
  stop();
}

void RemoteFiles::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

fs::path RemoteFiles::path_of(const std::string& url) const {
  const std::string name = redact_url(url);
  return folder_ / fmt::format("{:016x}-{}", hash_of(url), name.substr(name.rfind('/') + 1));
}

std::unique_ptr<RandomAccessFile> RemoteFiles::open(const std::string& url) {
  const fs::path path = path_of(url);
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto [found, is_new] = files_.try_emplace(url);
      File& file = found->second;
      const bool again = file.state == File::failed && Clock::now() - file.failed_at > retry_after;
      if (is_new || again || (file.state == File::here && !path_exists(path))) {
        file.state = File::queued;
        queue_.push_front(url);
        changed_.notify_all();
      } else if (file.state == File::queued) {  // now needed before the others
        const auto place = std::find(queue_.begin(), queue_.end(), url);
        if (place != queue_.end())
          std::rotate(queue_.begin(), place, place + 1);
        else
          queue_.push_front(url);  // an exception kept it from being queued
        changed_.notify_all();
      }
      changed_.wait(lock, [&] { return file.state == File::here || file.state == File::failed; });
      if (file.state == File::failed) fail("{}", file.error);
    }
    try {
      return std::make_unique<RandomAccessFile>(path, redact_url(url));
    } catch (const Error&) {
      if (path_exists(path)) throw;  // otherwise another process has just dropped it
    }
  }
}

std::optional<std::string> RemoteFiles::read(const std::string& url) const {
  const fs::path copy = temporary_beside(fs::temp_directory_path() / "gondola");  // since folder_ drops old files
  try {
    download(url, copy, stop_, max_sizes_json_bytes, /*attempts=*/8);  // fewer: a wrong URL shows here, at the start
  } catch (const HttpError& error) {
    if (error.status == 403 || error.status == 404) return std::nullopt;  // 403: S3, if the bucket may not be listed
    throw;
  }
  std::string bytes = read_file(copy);
  fs::remove(copy);
  return bytes;
}

void RemoteFiles::prefetch(const std::vector<std::string>& urls) {
  const std::lock_guard lock(mutex_);
  for (const std::string& url : urls) {
    File& file = files_[url];
    touch(path_of(url));
    if (file.state == File::loading || (file.state == File::here && path_exists(path_of(url)))) continue;
    file.state = File::queued;
    if (std::find(queue_.begin(), queue_.end(), url) == queue_.end()) queue_.push_back(url);
  }
  changed_.notify_all();
}

void RemoteFiles::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
    if (stop_) return;
    const std::string url = queue_.front();
    queue_.pop_front();
    files_[url].state = File::loading;
    lock.unlock();
    File result;
    try {
      fetch(url);
      result.state = File::here;
    } catch (const std::exception& error) {
      result = {File::failed, error.what(), Clock::now()};
    }
    lock.lock();
    files_[url] = std::move(result);
    changed_.notify_all();
  }
}

void RemoteFiles::fetch(const std::string& url) {
  const fs::path path = path_of(url), part = path.string() + ".part";
  constexpr std::uint64_t locks = 64;
  FileLock lock(folder_ / fmt::format("{:02}.lock", hash_of(url) % locks));  // one process at a time fetches a file
  while (!lock.try_lock()) {
    if (stop_ || interrupted()) fail("{}: interrupted", path.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  if (!path_exists(path)) {
    download(url, part, stop_);
    move_into_place(part, path);
  }
  touch(path);
  drop_old_files();
}

void RemoteFiles::drop_old_files() const {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code vanished;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    const auto time = entry.last_write_time(vanished);
    if (!vanished && entry.path().extension() != ".lock" && entry.path().extension() != ".part")
      files.emplace_back(time, entry.path());
  }
  if (files.size() <= kept_) return;
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i < files.size() - kept_; ++i) fs::remove(files[i].second, vanished);
}

}  // namespace gondola
