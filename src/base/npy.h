#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace gondola {

enum class NpyType { float16, float32 };

/// Writes an .npy file (NEP 1, version 1.0, C order, little endian) row by row; its shape is (rows, row_size).
/// The number of rows need not be known before.
class NpyWriter {
 public:
  NpyWriter(std::filesystem::path path, NpyType type, std::size_t row_size);
  /// Appends one row of row_size values.
  void append(std::span<const float> row);
  /// Writes the final header and flushes the file to the disk; what cannot be done shows now.
  void complete();
  /// complete(), and then renames the file into place. A writer that is destroyed unfinished leaves no file.
  void finish();
  ~NpyWriter();

 private:
  /// Closes the file and throws Error unless `written`: what is lost then would be missing among the rows.
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
