#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// The whole file as bytes in a string; a pipe or a terminal, which a user may name, to its end. Throws Error when it
/// cannot be read or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{4} << 30);

/// Like read_file, for a path that a model or a data set names rather than the user: what is no regular file (one would
/// wait for a pipe) is an Error.
std::string read_regular_file(const std::filesystem::path& path, std::uint64_t limit);

/// Throws Error for what read_regular_file refuses, before others open it.
void check_regular_file(const std::filesystem::path& path);

/// Calls visit(line) with each line of a text file, without its end ("\n" or "\r\n"); a byte order mark and a final
/// empty line are left out. Throws Error when it cannot be read.
void for_each_line(const std::filesystem::path& path, const std::function<void(std::string_view)>& visit);

/// The lines that for_each_line visits. Throws Error like it.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// The endings of images that can be read.
inline constexpr std::array<std::string_view, 8> image_extensions = {".jpg", ".jpeg", ".jpe", ".jfif",
                                                                     ".png", ".webp", ".gif", ".bmp"};

/// Whether a file's ending is one of those, in any case.
bool is_image_extension(std::string_view extension);

/// Makes the folder and those above it. Throws Error when that cannot be done.
void make_folder(const std::filesystem::path& path);

/// Throws Error when there is something at `path`, save an empty folder, or none can be made there: found now rather
/// than after hours.
void require_new_folder(const std::filesystem::path& path);

/// A name beside `path` that no other call or process is given, for a file that is to be moved there whole.
std::filesystem::path temporary_beside(const std::filesystem::path& path);

/// Removes the files of temporary_beside that killed processes left in the folder, if there is one; those that cannot
/// be removed stay.
void remove_temporaries(const std::filesystem::path& folder);

/// Renames a file over what has that name, if anything has. Throws Error when that cannot be done.
void move_into_place(const std::filesystem::path& from, const std::filesystem::path& to);

/// fsync, which a signal does not end; false when it cannot be done.
bool flush_to_disk(int descriptor);

/// Writes the bytes to a temporary file beside `path`, flushes it to the disk and renames it over `path`: a reader (or
/// a crash) sees the old file or the new one, never a part, whoever else writes it at the same time.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);
/// The same of several parts, one after the other.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> parts);

/// A file read at given places, from any thread.
class RandomAccessFile {
 public:
  /// Errors call it `name`, if one is given, in place of its path.
  explicit RandomAccessFile(const std::filesystem::path& path, std::string name = "");
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }
  /// Fills `bytes` from `offset`; Error when the file ends before.
  void read(std::uint64_t offset, std::span<char> bytes) const;
  std::string read(std::uint64_t offset, std::uint64_t count) const;

 private:
  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

/// A file mapped read-only into memory. The mapping lives as long as the object; cutting the file short meanwhile (as
/// cp onto it does, and renaming another one over it does not) would end the process.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gondola
