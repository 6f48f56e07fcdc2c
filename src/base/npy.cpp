#include "base/npy.h"

#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/half.h"

namespace gondola {
namespace {

/// The header is padded to this size, so that it can be rewritten in place when the number of rows is known.
constexpr std::size_t header_size = 128;

std::string header(NpyType type, std::span<const std::size_t> shape) {
  const std::string dimensions = fmt::format("{}{}", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                 type == NpyType::float16 ? "<f2" : "<f4", dimensions);
  constexpr std::size_t preamble = 10;
  text.resize(header_size - preamble - 1, ' ');
  text += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(text.size() & 0xff);
  bytes += static_cast<char>(text.size() >> 8);
  return bytes + text;
}

std::string to_bytes(NpyType type, std::span<const float> values) {
  if (type == NpyType::float32) return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
  std::string bytes(values.size() * 2, '\0');
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = half_from_float(values[i]);
    bytes[2 * i] = static_cast<char>(half & 0xff);
    bytes[2 * i + 1] = static_cast<char>(half >> 8);
  }
  return bytes;
}

}  // namespace

NpyWriter::NpyWriter(std::filesystem::path path, NpyType type, std::size_t row_size)
    : path_(std::move(path)), temporary_(temporary_beside(path_)), type_(type), row_size_(row_size) {
  out_.reset(std::fopen(temporary_.c_str(), "wbe"));
  if (!out_) fail("{}: cannot be written", temporary_.string());
  write_header();
}

void NpyWriter::require(bool written) {
  if (written) return;
  out_.reset();
  fail("{}: cannot be written (is the disk full?)", temporary_.string());
}

void NpyWriter::write(std::string_view bytes) {
  require(out_ && std::fwrite(bytes.data(), 1, bytes.size(), out_.get()) == bytes.size());
}

void NpyWriter::write_header() {
  write(header(type_, std::array{rows_, row_size_}));
}

void NpyWriter::append(std::span<const float> row) {
  write(to_bytes(type_, row));
  ++rows_;
}

void NpyWriter::complete() {
  require(out_ && std::fseek(out_.get(), 0, SEEK_SET) == 0);
  write_header();
  require(std::fflush(out_.get()) == 0 && flush_to_disk(::fileno(out_.get())));
}

void NpyWriter::finish() {
  complete();
  out_.reset();
  move_into_place(temporary_, path_);
  finished_ = true;
}

NpyWriter::~NpyWriter() {
  if (finished_) return;
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void write_npy(const std::filesystem::path& path, std::span<const std::size_t> shape, std::span<const float> values) {
  write_file_atomically(path, header(NpyType::float32, shape) + to_bytes(NpyType::float32, values));
}

}  // namespace gondola
