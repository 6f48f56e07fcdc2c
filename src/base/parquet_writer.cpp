#include "base/parquet_writer.h"

#include <cstdint>
#include <string_view>

#include "base/file.h"
#include "base/utf8.h"

namespace gondola {
namespace {

/// Thrift's compact protocol (apache/thrift, doc/specs/thrift-compact-protocol.md), in which Parquet's headers are
/// written: structs of numbered fields. Fields must be written in ascending order.
class ThriftWriter {
 public:
  void integer32(int field, std::int64_t value) {
    header(field, type_i32);
    zigzag(value);
  }
  void integer64(int field, std::int64_t value) {
    header(field, type_i64);
    zigzag(value);
  }
  void text(int field, std::string_view value) {
    header(field, type_binary);
    element(value);
  }
  /// A list of the given length; its elements follow.
  void list_of_integers(int field, std::size_t size) { list(field, size, type_i32); }
  void list_of_texts(int field, std::size_t size) { list(field, size, type_binary); }
  void list_of_structs(int field, std::size_t size) { list(field, size, type_struct); }
  void element(std::int64_t value) { zigzag(value); }
  void element(std::string_view value) {
    varint(value.size());
    bytes_ += value;
  }
  void begin_struct(int field) {
    header(field, type_struct);
    begin_element();
  }
  void begin_element() {
    outer_fields_.push_back(last_field_);
    last_field_ = 0;
  }
  void end_struct() {
    bytes_ += '\0';
    last_field_ = outer_fields_.back();
    outer_fields_.pop_back();
  }
  /// Ends the outermost struct.
  std::string finish() { return bytes_ + '\0'; }

 private:
  enum Type { type_i32 = 5, type_i64 = 6, type_binary = 8, type_list = 9, type_struct = 12 };

  void header(int field, Type type) {
    bytes_ += static_cast<char>((field - last_field_) << 4 | type);
    last_field_ = field;
  }
  void list(int field, std::size_t size, Type type) {
    header(field, type_list);
    bytes_ += static_cast<char>(size << 4 | static_cast<unsigned>(type));  // the short form, below 15 elements
  }
  void zigzag(std::int64_t value) {
    varint(static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63));
  }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
  int last_field_ = 0;
  std::vector<int> outer_fields_;
};

// Constants of apache/parquet-format, src/main/thrift/parquet.thrift.
constexpr int type_byte_array = 6, repetition_required = 0, converted_utf8 = 0;
constexpr int encoding_plain = 0, encoding_rle = 3, codec_uncompressed = 0, page_data = 0;
constexpr std::string_view magic = "PAR1";

void append_little_endian(std::string& bytes, std::size_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
}

std::string page_header(std::size_t page_size, std::size_t values) {
  ThriftWriter header;
  header.integer32(1, page_data);
  header.integer32(2, static_cast<std::int64_t>(page_size));  // uncompressed
  header.integer32(3, static_cast<std::int64_t>(page_size));  // compressed
  header.begin_struct(5);
  header.integer32(1, static_cast<std::int64_t>(values));
  header.integer32(2, encoding_plain);
  header.integer32(3, encoding_rle);  // definition levels; a required column has none
  header.integer32(4, encoding_rle);  // repetition levels
  header.end_struct();
  return header.finish();
}

/// The column's pages, of about a megabyte each.
std::string column_chunk(std::span<const std::string> values) {
  constexpr std::size_t page_size = 1 << 20;
  std::string chunk, page;
  std::size_t in_page = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string value = replace_invalid_utf8(values[i]);
    append_little_endian(page, value.size());
    page += value;
    ++in_page;
    if (page.size() < page_size && i + 1 < values.size()) continue;
    chunk += page_header(page.size(), in_page) + page;
    page.clear();
    in_page = 0;
  }
  return chunk;
}

void write_schema(ThriftWriter& footer, const std::string& column) {
  footer.list_of_structs(2, 2);
  footer.begin_element();
  footer.text(4, "schema");
  footer.integer32(5, 1);  // children
  footer.end_struct();
  footer.begin_element();
  footer.integer32(1, type_byte_array);
  footer.integer32(3, repetition_required);
  footer.text(4, column);
  footer.integer32(6, converted_utf8);
  footer.begin_struct(10);  // logical type
  footer.begin_struct(1);   // string
  footer.end_struct();
  footer.end_struct();
  footer.end_struct();
}

void write_row_group(ThriftWriter& footer, const std::string& column, std::int64_t rows, std::int64_t chunk_size) {
  footer.begin_element();
  footer.list_of_structs(1, 1);  // columns
  footer.begin_element();
  footer.integer64(2, static_cast<std::int64_t>(magic.size()));  // file offset
  footer.begin_struct(3);
  footer.integer32(1, type_byte_array);
  footer.list_of_integers(2, 1);
  footer.element(encoding_plain);
  footer.list_of_texts(3, 1);
  footer.element(column);
  footer.integer32(4, codec_uncompressed);
  footer.integer64(5, rows);
  footer.integer64(6, chunk_size);                               // uncompressed
  footer.integer64(7, chunk_size);                               // compressed
  footer.integer64(9, static_cast<std::int64_t>(magic.size()));  // offset of the first page
  footer.end_struct();
  footer.end_struct();
  footer.integer64(2, chunk_size);
  footer.integer64(3, rows);
  footer.end_struct();
}

}  // namespace

void write_parquet(const std::filesystem::path& path, const std::string& column, std::span<const std::string> values) {
  const auto rows = static_cast<std::int64_t>(values.size());
  const std::string chunk = column_chunk(values);
  ThriftWriter footer;
  footer.integer32(1, 2);  // format version
  write_schema(footer, column);
  footer.integer64(3, rows);
  footer.list_of_structs(4, values.empty() ? 0 : 1);
  if (!values.empty()) write_row_group(footer, column, rows, static_cast<std::int64_t>(chunk.size()));
  footer.text(6, "gondola");
  const std::string metadata = footer.finish();

  std::string bytes(magic);
  bytes += chunk;
  bytes += metadata;
  append_little_endian(bytes, metadata.size());
  bytes += magic;
  write_file_atomically(path, bytes);
}

}  // namespace gondola
