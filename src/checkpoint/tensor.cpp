#include "checkpoint/tensor.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/half.h"

namespace gondola {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little endian");

template <class Stored>
Stored load(const std::byte* bytes) {
  Stored value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <class Stored>
void append_floats(std::span<const std::byte> bytes, std::vector<float>& out) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Stored))
    out.push_back(static_cast<float>(load<Stored>(bytes.data() + at)));
}

/// Makes a tensor that owns its memory.
template <class Value>
Tensor own(DType type, std::vector<std::int64_t> shape, std::vector<Value> values) {
  const auto owner = std::make_shared<const std::vector<Value>>(std::move(values));
  return {type, std::move(shape), std::as_bytes(std::span(*owner)), owner};
}

}  // namespace

std::size_t size_of(DType type) {
  constexpr std::size_t sizes[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};
  return sizes[static_cast<std::size_t>(type)];
}

std::string_view name(DType type) {
  constexpr std::string_view names[] = {"bool",  "uint8",   "int8",     "int16",   "int32",
                                        "int64", "float16", "bfloat16", "float32", "float64"};
  return names[static_cast<std::size_t>(type)];
}

std::int64_t Tensor::elements() const {
  std::int64_t count = 1;
  for (std::int64_t extent : shape) count *= extent;
  return count;
}

Tensor make_tensor(DType type, std::vector<std::int64_t> shape, std::vector<std::byte> bytes) {
  return own(type, std::move(shape), std::move(bytes));
}

Tensor make_tensor(std::vector<std::int64_t> shape, std::vector<float> values) {
  return own(DType::float32, std::move(shape), std::move(values));
}

Tensor make_int8_tensor(std::vector<std::int64_t> shape, std::vector<std::int8_t> values) {
  return own(DType::int8, std::move(shape), std::move(values));
}

std::vector<float> to_floats(const Tensor& tensor) {
  std::vector<float> values;
  values.reserve(tensor.bytes.size() / size_of(tensor.type));
  switch (tensor.type) {
    case DType::boolean:
    case DType::uint8:
      append_floats<std::uint8_t>(tensor.bytes, values);
      break;
    case DType::int8:
      append_floats<std::int8_t>(tensor.bytes, values);
      break;
    case DType::int16:
      append_floats<std::int16_t>(tensor.bytes, values);
      break;
    case DType::int32:
      append_floats<std::int32_t>(tensor.bytes, values);
      break;
    case DType::int64:
      append_floats<std::int64_t>(tensor.bytes, values);
      break;
    case DType::float16:
      for (std::size_t at = 0; at < tensor.bytes.size(); at += 2)
        values.push_back(float_from_half(load<std::uint16_t>(tensor.bytes.data() + at)));
      break;
    case DType::bfloat16:
      for (std::size_t at = 0; at < tensor.bytes.size(); at += 2)
        values.push_back(float_from_bfloat16(load<std::uint16_t>(tensor.bytes.data() + at)));
      break;
    case DType::float32:
      values.resize(tensor.bytes.size() / sizeof(float));
      if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
      break;
    case DType::float64:
      append_floats<double>(tensor.bytes, values);
      break;
  }
  return values;
}

Tensor convert(const Tensor& tensor, DType type) {
  if (tensor.type == type) return tensor;
  if (type == DType::float32) return make_tensor(tensor.shape, to_floats(tensor));
  const std::vector<float> values = to_floats(tensor);
  if (type != DType::float16 && type != DType::bfloat16) fail("weights cannot be converted to {}", name(type));
  std::vector<std::uint16_t> halves;
  halves.reserve(values.size());
  constexpr float beyond_half = 65520;  // rounds to infinity
  for (float value : values) {
    if (type == DType::float16 && std::isfinite(value) && std::abs(value) >= beyond_half)
      fail("{} is too large for fp16; bf16 holds it", value);
    halves.push_back(type == DType::float16 ? half_from_float(value) : bfloat16_from_float(value));
  }
  return own(type, tensor.shape, std::move(halves));
}

std::string format_shape(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace gondola
