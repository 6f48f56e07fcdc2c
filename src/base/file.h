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

/// Reads a whole file as bytes; a pipe or a terminal, which a user may name, is read to its end. Throws Error if it
/// cannot be read or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{4} << 30);

/// Like read_file, for a path named by a model or a data set rather than the user. Throws Error if it is not a regular
/// file (reading a pipe could block).
std::string read_regular_file(const std::filesystem::path& path, std::uint64_t limit);

/// Throws Error if read_regular_file would refuse the file; for files that other code opens.
void check_regular_file(const std::filesystem::path& path);

/// Calls visit(line) with each line of a text file, without its line ending ("\n" or "\r\n"); skips a byte order mark
/// and a final empty line. Throws Error if the file cannot be read.
void for_each_line(const std::filesystem::path& path, const std::function<void(std::string_view)>& visit);

/// The lines that for_each_line visits. Throws Error as it does.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// The file name extensions of images that can be read.
inline constexpr std::array<std::string_view, 8> image_extensions = {".jpg", ".jpeg", ".jpe", ".jfif",
                                                                     ".png", ".webp", ".gif", ".bmp"};

/// Whether an extension is one of image_extensions, ignoring case.
bool is_image_extension(std::string_view extension);

/// Whether a file or folder exists; false for what cannot be looked up, such as a path in another user's folder or a
/// very long list of braces.
bool path_exists(const std::filesystem::path& path);

/// Creates the folder and its parents. Throws Error if that fails.
void make_folder(const std::filesystem::path& path);

/// Throws Error unless `path` is an empty folder or can be created as one: to be checked before hours of work rather
/// than after.
void require_new_folder(const std::filesystem::path& path);

/// A unique name in the folder of `path`, for a file that is renamed to `path` once it is complete.
std::filesystem::path temporary_beside(const std::filesystem::path& path);

/// Removes the files of temporary_beside that killed processes left in the folder, if it exists; ignores those that
/// cannot be removed.
void remove_temporaries(const std::filesystem::path& folder);

/// Renames a file, replacing any file of that name. Throws Error if that fails.
void move_into_place(const std::filesystem::path& from, const std::filesystem::path& to);

/// fsync, repeated if a signal interrupts it; false if it fails.
bool flush_to_disk(int descriptor);

/// Writes the bytes to a temporary file beside `path`, flushes it to the disk and renames it over `path`. A reader (or
/// a crash) sees the old file or the new one, never a part, even if others write it at the same time.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);
/// The same, for the concatenation of the parts.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> parts);

/// A file that any thread can read at any offset.
class RandomAccessFile {
 public:
  /// Error messages use `name`, if given, instead of the path.
  explicit RandomAccessFile(const std::filesystem::path& path, std::string name = "");
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }
  /// Fills `bytes` from `offset`. Throws Error if the file ends too early.
  void read(std::uint64_t offset, std::span<char> bytes) const;
  std::string read(std::uint64_t offset, std::uint64_t count) const;

 private:
  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

/// A file mapped read-only into memory, for as long as the object lives. Truncating the file meanwhile (as cp onto it
/// does; renaming another one over it does not) would crash the process.
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
