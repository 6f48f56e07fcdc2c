#include "data/tar.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/ascii.h"
#include "base/error.h"

namespace gondola {
namespace {

constexpr std::uint64_t block = 512;
constexpr std::uint64_t max_extension_bytes = 1 << 20;  // of a pax record or a long name

/// A text field of a header, which ends at its first NUL.
std::string_view text_field(std::span<const char> header, std::size_t offset, std::size_t length) {
  const std::string_view field(header.data() + offset, length);
  return field.substr(0, field.find('\0'));
}

/// An octal field, possibly with blanks around it.
std::optional<std::uint64_t> octal_field(std::span<const char> header, std::size_t offset, std::size_t length) {
  std::string_view digits = text_field(header, offset, length);
  while (digits.starts_with(' ')) digits.remove_prefix(1);
  while (digits.ends_with(' ')) digits.remove_suffix(1);
  return parse_number(digits, 8);
}

/// Whether the checksum is right: the bytes' sum, its own field as blanks (POSIX.1-1988; some old writers sum signed).
bool checksum_holds(std::span<const char> header) {
  constexpr std::size_t checksum_offset = 148, checksum_length = 8;
  const auto stored = octal_field(header, checksum_offset, checksum_length);
  std::int64_t plain = 0, with_signs = 0;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const bool inside = i >= checksum_offset && i < checksum_offset + checksum_length;
    const char byte = inside ? ' ' : header[i];
    plain += static_cast<unsigned char>(byte);
    with_signs += static_cast<signed char>(byte);
  }
  return stored && (static_cast<std::int64_t>(*stored) == plain || static_cast<std::int64_t>(*stored) == with_signs);
}

/// What a pax record or a GNU long name says about the next member.
struct Extension {
  std::optional<std::string> name;
  std::optional<std::uint64_t> size;
  bool sparse = false;
};

/// "LENGTH KEY=VALUE\n" records (POSIX pax interchange format).
void read_pax_records(std::string_view records, const std::string& where, Extension& extension) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [digits_end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto blank = static_cast<std::size_t>(digits_end - records.data());
    if (error != std::errc() || length > records.size() || blank + 2 > length || records[blank] != ' ')
      fail("{}: damaged pax record", where);
    const std::string_view record = records.substr(blank + 1, length - blank - 2);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) fail("{}: damaged pax record", where);
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") extension.name = value;
    if (key.starts_with("GNU.sparse.")) extension.sparse = true;
    if (key == "size") {
      extension.size = parse_number(value);
      if (!extension.size) fail("{}: pax size \"{}\"", where, value);
    }
    records.remove_prefix(length);
  }
}

std::string member_name(std::span<const char> header) {
  const std::string_view name = text_field(header, 0, 100), prefix = text_field(header, 345, 155);
  // Only POSIX headers have a prefix ("ustar\0"); GNU's ("ustar  ") keep other things there.
  const bool posix = std::string_view(header.data() + 257, 6) == std::string_view("ustar\0", 6);
  return posix && !prefix.empty() ? fmt::format("{}/{}", prefix, name) : std::string(name);
}

}  // namespace

/// Reads the next header; false at the end of the archive: a block of zeros or the end of the file.
bool TarReader::read_header(Header& header) {
  if (position_ >= file_.size()) return false;
  file_.read(position_, header);
  if (std::all_of(header.begin(), header.end(), [](char byte) { return byte == 0; })) return false;
  if (!checksum_holds(header)) fail("{}: no tar header at byte {}", file_.name(), position_);
  return true;
}

/// Octal, or GNU's binary form for sizes of 8 GiB and more: the highest bit of the first byte is set.
std::uint64_t TarReader::size_field(const Header& header) const {
  constexpr std::size_t offset = 124, length = 12;
  if (static_cast<unsigned char>(header[offset]) == 0x80) {
    std::uint64_t value = 0;
    for (std::size_t i = offset + 1; i < offset + length; ++i) {
      if (value >> 56 != 0) fail("{}: impossible size at byte {}", file_.name(), position_);
      value = value << 8 | static_cast<unsigned char>(header[i]);
    }
    return value;
  }
  const auto value = octal_field(header, offset, length);
  if (!value) fail("{}: damaged size in the tar header at byte {}", file_.name(), position_);
  return *value;
}

std::string TarReader::read_extension(std::uint64_t size) const {
  if (size > max_extension_bytes) fail("{}: extended header of {} bytes at byte {}", file_.name(), size, position_);
  return file_.read(position_ + block, size);
}

bool TarReader::next(TarMember& member) {
  Extension extension;
  member.begin = position_;
  for (Header header; read_header(header);) {
    const std::string where = fmt::format("{}: member at byte {}", file_.name(), position_);
    const char type = header[156];
    const bool extends_next = type == 'x' || type == 'L';
    // Links, devices, folders and pipes have no data, whatever their size field says.
    const bool no_data = type >= '1' && type <= '6';
    std::uint64_t size = no_data ? 0 : size_field(header);
    if (!extends_next && !no_data && extension.size) size = *extension.size;
    const std::uint64_t data = position_ + block;
    if (data > file_.size() || size > file_.size() - data)
      fail("{}: {} bytes, of which the file holds {}", where, size, file_.size() - std::min(data, file_.size()));
    const std::uint64_t end = data + (size + block - 1) / block * block;
    if (type == 'x') read_pax_records(read_extension(size), where, extension);
    if (type == 'L') {
      const std::string name = read_extension(size);
      extension.name = name.substr(0, name.find('\0'));
    }
    position_ = end;
    if (extends_next) continue;
    if (type == '0' || type == '\0' || type == '7') {
      if (extension.sparse) fail("{}: sparse files are not supported", where);
      member.name = extension.name.value_or(member_name(header));
      member.data = data;
      member.size = size;
      return true;
    }
    extension = {};
    member.begin = position_;
  }
  return false;
}

}  // namespace gondola
