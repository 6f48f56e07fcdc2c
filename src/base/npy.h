#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace gondola {

enum class NpyType { float16, float32 };

/// Writes an .npy file (NEP 1, version 1.0, C order, little endian) of shape (rows, row_size) row by row. The number of
/// rows need not be known in advance.
class NpyWriter {
 public:
  NpyWriter(std::filesystem::path path, NpyType type, std::size_t row_size);
  /// Appends one row of row_size values.
  void append(std::span<const float> row);
  /// Rewrites the header with the number of rows and flushes the file to the disk. Throws Error if that fails.
  void complete();
  /// Calls complete() and renames the file into place. A writer destroyed before that leaves no file.
  void finish();
  ~NpyWriter();

 private:
  /// Closes the file and throws Error unless `written`: writing on would leave a gap in the rows.
  void require(bool written);
  void write(std::string_view bytes);
  void write_header();
  std::filesystem::path path_, temporary_;
  NpyType type_;
  std::size_t row_size_, rows_ = 0;
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> out_;
  bool finished_ = false;
};

/// Writes one fp32 array of the given shape.
void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape, std::span<const float> values);

}  // namespace gondola
