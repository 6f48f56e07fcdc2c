#include "train/tensorboard.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/file.h"

namespace gondola {
namespace {

// Protocol buffers' wire format: a key of field number and wire type, then the value.
enum WireType { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

std::string encode_varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string key(int field, WireType type) {
  return encode_varint(static_cast<std::uint64_t>(field << 3 | type));
}

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string text_field(int field, const std::string& bytes) {
  return key(field, length_delimited) + encode_varint(bytes.size()) + bytes;
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// tensorflow/core/util/event.proto: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
std::string event_header() {
  return key(1, fixed64) + little_endian(wall_time());
}

std::string event_header(std::int64_t step) {
  return event_header() + key(2, varint) + encode_varint(static_cast<std::uint64_t>(step));
}

std::uint32_t masked_crc(const std::string& bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xa282ead8u;
}

}  // namespace

std::uint32_t crc32c(const std::string& bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> values{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
      values[i] = value;
    }
    return values;
  }();
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ crc >> 8;
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& folder, std::int64_t first_step) {
  make_folder(folder);
  const auto path = folder / fmt::format("events.out.tfevents.{:.0f}.gondola", wall_time() * 1000);
  out_.open(path, std::ios::binary);
  if (!out_) fail("{}: cannot be written", path.string());
  record(event_header() + text_field(3, "brain.Event:2"));
  const std::string start = key(1, varint) + encode_varint(1);  // SessionLog.status = START
  record(event_header(first_step + 1) + text_field(7, start));
}

void EventWriter::scalar(const std::string& tag, std::int64_t step, double value) {
  // summary.proto: Summary.value = 1 {tag = 1, simple_value = 2}
  const std::string point = text_field(1, tag) + key(2, fixed32) + little_endian(static_cast<float>(value));
  record(event_header(step) + text_field(5, text_field(1, point)));
}

void EventWriter::record(const std::string& event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  out_ << length << little_endian(masked_crc(length)) << event << little_endian(masked_crc(event));
  out_.flush();
}

}  // namespace gondola
