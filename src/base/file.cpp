#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>

#include "base/ascii.h"
#include "base/error.h"

namespace gondola {
namespace {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags, mode_t mode = 0)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
    if (fd_ < 0) fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

constexpr int without_waiting = O_RDONLY | O_NONBLOCK;  // does not wait for a writer to open a pipe

struct stat file_status(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail("{}: {}", path.string(), std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail("{}: is a folder, expected a file", path.string());
  return status;
}

struct stat regular_file_status(const Descriptor& file, const std::filesystem::path& path) {
  const auto status = file_status(file, path);
  if (!S_ISREG(status.st_mode)) fail("{}: is not a regular file", path.string());
  return status;
}

std::string read_all(const Descriptor& file, const struct stat& status, const std::filesystem::path& path,
                     std::uint64_t limit) {
  std::string bytes;
  bytes.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(status.st_size, limit)));
  char chunk[1 << 16];
  for (;;) {
    const ssize_t count = ::read(file.get(), chunk, sizeof chunk);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (count == 0) return bytes;
    bytes.append(chunk, static_cast<std::size_t>(count));
    if (bytes.size() > limit) fail("{}: is larger than the limit of {} bytes", path.string(), limit);
  }
}

void write_and_flush(const std::filesystem::path& path, std::span<const std::string_view> parts) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  for (std::string_view bytes : parts) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("{}: cannot be written: {}", path.string(), std::strerror(errno));
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  if (!flush_to_disk(file.get())) fail("{}: cannot be flushed: {}", path.string(), std::strerror(errno));
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uint64_t limit) {
  const Descriptor file(path, O_RDONLY);
  return read_all(file, file_status(file, path), path, limit);
}

std::string read_regular_file(const std::filesystem::path& path, std::uint64_t limit) {
  const Descriptor file(path, without_waiting);
  return read_all(file, regular_file_status(file, path), path, limit);
}

void check_regular_file(const std::filesystem::path& path) {
  regular_file_status(Descriptor(path, without_waiting), path);
}

void for_each_line(const std::filesystem::path& path, const std::function<void(std::string_view)>& visit) {
  std::error_code unknown;  // opening it reports the error
  if (std::filesystem::is_directory(path, unknown)) fail("{}: is a folder, expected a file", path.string());
  std::ifstream input(path);
  if (!input) fail("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  bool first = true;
  for (std::string line; std::getline(input, line); first = false) {
    std::string_view text = line;
    if (first && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    if (text.empty() && input.eof()) break;  // a lone byte order mark is not a line
    if (text.ends_with('\r')) text.remove_suffix(1);
    visit(text);
  }
  if (input.bad()) fail("{}: cannot be read: {}", path.string(), std::strerror(errno));
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  for_each_line(path, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

bool is_image_extension(std::string_view extension) {
  return std::ranges::find(image_extensions, lower_ascii(extension)) != image_extensions.end();
}

bool path_exists(const std::filesystem::path& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown);
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) fail("{}: cannot be created: {}", path.string(), error.message());
}

void require_new_folder(const std::filesystem::path& path) {
  if (path.empty()) fail("the name of the folder to write to is empty");
  std::filesystem::path place = std::filesystem::absolute(path);
  if (std::filesystem::is_directory(place) && !std::filesystem::is_empty(place))
    fail("{}: is not empty; name a new folder", path.string());
  while (!std::filesystem::exists(place)) {
    if (std::filesystem::is_symlink(std::filesystem::symlink_status(place)))
      fail("{}: is a link to a folder that does not exist", place.string());
    place = place.parent_path();
  }
  if (!std::filesystem::is_directory(place)) fail("{}: is a file, expected a folder", place.string());
  if (::access(place.c_str(), W_OK) != 0) fail("{}: cannot be written to: {}", place.string(), std::strerror(errno));
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  std::random_device random;  // process numbers may coincide on machines that share a folder
  return path.parent_path() / fmt::format(".{:08x}{:08x}.tmp", random(), random());
}

void remove_temporaries(const std::filesystem::path& folder) {
  const auto is_temporary = [](const std::string& name) {
    return name.size() == 21 && name.front() == '.' && name.find_first_not_of("0123456789abcdef", 1) == 17 &&
           name.ends_with(".tmp");
  };
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(folder, gone))
    if (is_temporary(entry.path().filename().string())) std::filesystem::remove(entry.path(), gone);
}

void move_into_place(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error) fail("{}: cannot be written: {}", to.string(), error.message());
}

bool flush_to_disk(int descriptor) {
  while (::fsync(descriptor) != 0)
    if (errno != EINTR) return false;
  return true;
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  write_file_atomically(path, std::span(&bytes, 1));
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> parts) {
  const std::filesystem::path temporary = temporary_beside(path);
  try {
    write_and_flush(temporary, parts);
    move_into_place(temporary, path);
  } catch (const Error&) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

RandomAccessFile::RandomAccessFile(const std::filesystem::path& path, std::string name)
    : name_(name.empty() ? path.string() : std::move(name)),
      descriptor_(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {  // does not wait for a pipe's writer
  if (descriptor_ < 0) fail("{}: cannot be opened: {}", name_, std::strerror(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail("{}: is not a regular file", name_);
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

RandomAccessFile::~RandomAccessFile() {
  ::close(descriptor_);
}

void RandomAccessFile::read(std::uint64_t offset, std::span<char> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("{}: cannot be read: {}", name_, std::strerror(errno));
    if (count == 0) fail("{}: ends at byte {}, expected {} more", name_, offset, bytes.size());
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

std::string RandomAccessFile::read(std::uint64_t offset, std::uint64_t count) const {
  std::string bytes(count, '\0');
  read(offset, std::span(bytes));
  return bytes;
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor file(path, without_waiting);
  size_ = static_cast<std::size_t>(regular_file_status(file, path).st_size);
  if (size_ == 0) return;  // mmap refuses an empty mapping
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) fail("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace gondola
