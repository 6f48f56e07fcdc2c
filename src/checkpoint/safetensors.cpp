#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace gondola {
namespace {

using std::filesystem::path;

constexpr std::size_t length_bytes = 8;
constexpr std::uint64_t max_header = 100'000'000;  // as in the reference implementation
constexpr const char* metadata_key = "__metadata__";

constexpr std::array<std::string_view, 10> type_names = {"BOOL", "U8",  "I8",   "I16", "I32",
                                                         "I64",  "F16", "BF16", "F32", "F64"};  // by DType

/// A non-negative integer of the header; floating-point and negative numbers are refused.
std::int64_t to_size(const Json& value, const path& file, const std::string& tensor) {
  constexpr std::int64_t largest = std::int64_t{1} << 48;
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > largest)
    fail("{}: tensor {}: {} is not a size", file.string(), tensor, value.dump());
  return value.get<std::int64_t>();
}

const Json& field(const Json& entry, const char* key, const path& file, const std::string& tensor) {
  const auto found = entry.find(key);
  if (found == entry.end()) fail("{}: tensor {} has no field \"{}\"", file.string(), tensor, key);
  return *found;
}

DType read_type(const Json& value, const path& file, const std::string& tensor) {
  for (std::size_t type = 0; type < type_names.size(); ++type)
    if (value == type_names[type]) return static_cast<DType>(type);
  fail("{}: tensor {} has the unsupported type {}", file.string(), tensor, value.dump());
}

/// The size in bytes of a tensor of this shape. Throws Error when it overflows.
std::uint64_t byte_count(const std::vector<std::int64_t>& shape, DType type, const path& file,
                         const std::string& tensor) {
  std::int64_t bytes = static_cast<std::int64_t>(size_of(type));
  bool is_empty = false;
  for (std::int64_t extent : shape) {
    is_empty = is_empty || extent == 0;
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(extent, 1), &bytes))
      fail("{}: tensor {} of shape {} is too large", file.string(), tensor, format_shape(shape));
  }
  return is_empty ? 0 : static_cast<std::uint64_t>(bytes);
}

Tensor read_entry(const std::string& name, const Json& entry, std::span<const std::byte> data, const path& file) {
  if (!entry.is_object()) fail("{}: tensor {}: expected an object", file.string(), name);
  for (const auto& item : entry.items())
    if (item.key() != "dtype" && item.key() != "shape" && item.key() != "data_offsets")
      fail("{}: tensor {} has the unknown field \"{}\"", file.string(), name, item.key());
  Tensor tensor;
  tensor.type = read_type(field(entry, "dtype", file, name), file, name);
  const Json& shape = field(entry, "shape", file, name);
  if (!shape.is_array()) fail("{}: tensor {}: shape is not a list", file.string(), name);
  for (const Json& extent : shape) tensor.shape.push_back(to_size(extent, file, name));
  const Json& offsets = field(entry, "data_offsets", file, name);
  if (!offsets.is_array() || offsets.size() != 2)
    fail("{}: tensor {}: data_offsets is not a pair", file.string(), name);
  const auto begin = static_cast<std::uint64_t>(to_size(offsets[0], file, name));
  const auto end = static_cast<std::uint64_t>(to_size(offsets[1], file, name));
  if (begin > end || end > data.size())
    fail("{}: tensor {} lies at bytes {} to {} of {}", file.string(), name, begin, end, data.size());
  if (byte_count(tensor.shape, tensor.type, file, name) != end - begin)
    fail("{}: tensor {} of type {} and shape {} has {} bytes", file.string(), name, gondola::name(tensor.type),
         format_shape(tensor.shape), end - begin);
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

/// Checks that the tensors cover the data exactly: the format allows no holes, no overlaps and no unused bytes.
void check_coverage(const TensorMap& tensors, std::span<const std::byte> data, const path& file) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, tensor] : tensors) {
    const auto begin = static_cast<std::uint64_t>(tensor.bytes.data() - data.data());
    ranges.emplace_back(begin, begin + tensor.bytes.size());
  }
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != covered)
      fail("{}: tensors {} at byte {}", file.string(), begin < covered ? "overlap" : "leave a hole", covered);
    covered = end;
  }
  if (covered != data.size())
    fail("{}: tensors cover {} of {} bytes; the file may be truncated", file.string(), covered, data.size());
}

std::string pad_to_alignment(std::string header) {
  constexpr std::size_t alignment = 8;
  header.resize((header.size() + alignment - 1) / alignment * alignment, ' ');
  return header;
}

}  // namespace

TensorMap read_safetensors(const path& file) {
  const auto mapping = std::make_shared<const MappedFile>(file);
  const std::span<const std::byte> bytes = mapping->bytes();
  if (bytes.size() < length_bytes) fail("{}: {} bytes are too few for a safetensors file", file.string(), bytes.size());
  std::uint64_t header_length = 0;
  std::memcpy(&header_length, bytes.data(), sizeof header_length);
  if (header_length > max_header || header_length > bytes.size() - length_bytes)
    fail("{}: not a safetensors file, or truncated: its header would have {} bytes and the file has {}", file.string(),
         header_length, bytes.size());
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + length_bytes, header_length);
  if (!text.starts_with('{')) fail("{}: the safetensors header does not start with '{{'", file.string());
  const Json header = parse_json(text, file.string());
  const std::span<const std::byte> data = bytes.subspan(length_bytes + header_length);

  TensorMap tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == metadata_key) {
      if (!entry.is_object()) fail("{}: {} is not an object", file.string(), metadata_key);
      for (const auto& [key, value] : entry.items())
        if (!value.is_string()) fail("{}: {} \"{}\" is not a string", file.string(), metadata_key, key);
      continue;
    }
    Tensor tensor = read_entry(name, entry, data, file);
    tensor.owner = mapping;
    tensors.emplace(name, std::move(tensor));
  }
  check_coverage(tensors, data, file);
  return tensors;
}

void write_safetensors(const path& file, const TensorMap& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[metadata_key] = metadata;
  // Wider elements first, so that every tensor of a mapped file is aligned; by name among equals.
  std::vector<const TensorMap::value_type*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* left, const auto* right) {
    return size_of(left->second.type) > size_of(right->second.type);
  });
  std::uint64_t offset = 0;
  for (const auto* item : order) {
    const Tensor& tensor = item->second;
    header[item->first] = {{"dtype", type_names[static_cast<std::size_t>(tensor.type)]},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  const std::string text = pad_to_alignment(header.dump());
  const std::uint64_t header_length = text.size();
  std::vector<std::string_view> parts = {{reinterpret_cast<const char*>(&header_length), length_bytes}, text};
  for (const auto* item : order)
    parts.emplace_back(reinterpret_cast<const char*>(item->second.bytes.data()), item->second.bytes.size());
  write_file_atomically(file, parts);
}

}  // namespace gondola
