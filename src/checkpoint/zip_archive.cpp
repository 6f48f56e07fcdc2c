#include "checkpoint/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace gondola {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                        end64_signature = 0x06064b50, locator64_signature = 0x07064b50;
constexpr std::size_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;
constexpr std::uint32_t in_zip64 = 0xffffffff;  // marks a 32-bit field whose value is in the ZIP64 part

template <class T>
T field(std::span<const std::byte> record, std::size_t at) {
  T value;
  std::memcpy(&value, record.data() + at, sizeof value);
  return value;
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path) : file_(std::make_shared<const MappedFile>(path)) {
  const std::span<const std::byte> bytes = file_->bytes();
  const std::size_t longest_comment = 0xffff;
  const std::size_t lowest = bytes.size() - std::min(bytes.size(), end_size + longest_comment);
  for (std::size_t at = bytes.size() >= end_size ? bytes.size() - end_size + 1 : 0; at-- > lowest;) {
    const auto end = bytes.subspan(at);
    if (field<std::uint32_t>(end, 0) != end_signature || end_size + field<std::uint16_t>(end, 20) != end.size())
      continue;
    std::uint64_t count = field<std::uint16_t>(end, 10);
    std::uint64_t size = field<std::uint32_t>(end, 12), offset = field<std::uint32_t>(end, 16);
    if (at >= locator64_size && field<std::uint32_t>(bytes.subspan(at - locator64_size), 0) == locator64_signature) {
      const auto at64 = field<std::uint64_t>(bytes.subspan(at - locator64_size), 8);
      if (at64 > bytes.size() || bytes.size() - at64 < end64_size ||
          field<std::uint32_t>(bytes.subspan(at64), 0) != end64_signature)
        refuse("its 64-bit directory is damaged");
      const auto end64 = bytes.subspan(at64);
      count = field<std::uint64_t>(end64, 32);
      size = field<std::uint64_t>(end64, 40);
      offset = field<std::uint64_t>(end64, 48);
    }
    read_directory(offset, size, count);
    return;
  }
  refuse("not a ZIP file, or truncated: its directory is missing");
}

bool ZipArchive::is_zip(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof local_signature && field<std::uint32_t>(bytes, 0) == local_signature;
}

void ZipArchive::refuse(const std::string& what) const {
  fail("{}: {}", file_->path().string(), what);
}

void ZipArchive::read_directory(std::uint64_t offset, std::uint64_t size, std::uint64_t count) {
  const std::span<const std::byte> bytes = file_->bytes();
  if (offset > bytes.size() || size > bytes.size() - offset) refuse("its directory lies outside the file");
  std::span<const std::byte> rest = bytes.subspan(offset, size);
  for (; count > 0; --count) {
    if (rest.size() < central_size || field<std::uint32_t>(rest, 0) != central_signature)
      refuse("its directory is damaged");
    Entry entry;
    entry.flags = field<std::uint16_t>(rest, 8);
    entry.method = field<std::uint16_t>(rest, 10);
    entry.crc = field<std::uint32_t>(rest, 16);
    entry.compressed = field<std::uint32_t>(rest, 20);
    entry.size = field<std::uint32_t>(rest, 24);
    entry.header = field<std::uint32_t>(rest, 42);
    const std::size_t name_size = field<std::uint16_t>(rest, 28), extra_size = field<std::uint16_t>(rest, 30),
                      comment_size = field<std::uint16_t>(rest, 32);
    if (rest.size() - central_size < name_size + extra_size + comment_size) refuse("its directory is damaged");
    const std::string name(reinterpret_cast<const char*>(rest.data()) + central_size, name_size);
    std::span<const std::byte> extra = rest.subspan(central_size + name_size, extra_size);
    while (extra.size() >= 4) {
      const auto id = field<std::uint16_t>(extra, 0);
      const std::size_t length = std::min<std::size_t>(field<std::uint16_t>(extra, 2), extra.size() - 4);
      std::span<const std::byte> values = extra.subspan(4, length);
      constexpr std::uint16_t zip64_extra = 1;
      if (id == zip64_extra)
        for (std::uint64_t* value : {&entry.size, &entry.compressed, &entry.header})
          if (*value == in_zip64 && values.size() >= 8) {
            *value = field<std::uint64_t>(values, 0);
            values = values.subspan(8);
          }
      extra = extra.subspan(4 + length);
    }
    if (!entries_.emplace(name, entry).second) refuse("has two entries named " + name);
    rest = rest.subspan(central_size + name_size + extra_size + comment_size);
  }
}

void ZipArchive::check(const std::string& name, const Entry& entry, std::span<const std::byte> data) const {
  constexpr std::uint32_t none = 0;  // as torch.save leaves it after torch.serialization.set_crc32_options(False)
  if (entry.crc != none && crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size()) != entry.crc)
    refuse("the entry " + name + " is damaged");
}

SharedBytes ZipArchive::read(const std::string& name, bool check_stored) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) refuse("has no entry " + name);
  const Entry& entry = found->second;
  const std::span<const std::byte> bytes = file_->bytes();
  if (entry.header > bytes.size() || bytes.size() - entry.header < local_size ||
      field<std::uint32_t>(bytes.subspan(entry.header), 0) != local_signature)
    refuse("the entry " + name + " lies outside the file");
  const auto local = bytes.subspan(entry.header);
  const std::uint64_t start = local_size + field<std::uint16_t>(local, 26) + field<std::uint16_t>(local, 28);
  if (start > local.size() || entry.compressed > local.size() - start) refuse("the entry " + name + " is truncated");
  constexpr std::uint16_t encrypted = 1, stored = 0, deflated = 8;
  if ((entry.flags & encrypted) != 0) refuse("the entry " + name + " is encrypted");
  const auto data = local.subspan(start, entry.compressed);
  if (entry.method == stored) {
    if (entry.size != entry.compressed) refuse("the entry " + name + " has two sizes");
    if (check_stored) check(name, entry, data);
    return {data, file_};
  }
  constexpr std::uint64_t max_inflated = 32 << 20;  // PyTorch stores tensors; only descriptions are deflated
  if (entry.method != deflated || entry.size > max_inflated - inflated_ || entry.compressed > UINT32_MAX)
    refuse("the entry " + name + " is compressed in an unsupported way");
  inflated_ += entry.size;
  auto inflated = std::make_shared<std::vector<std::byte>>(entry.size);
  z_stream stream{};
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(inflated->data());
  stream.avail_out = static_cast<uInt>(entry.size);
  int status = inflateInit2(&stream, -MAX_WBITS);
  if (status == Z_OK) {
    status = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
  }
  if (status != Z_STREAM_END || stream.total_out != entry.size) refuse("the entry " + name + " is damaged");
  check(name, entry, *inflated);
  return {*inflated, inflated};
}

}  // namespace gondola
