#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

enum class DType { boolean, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64 };

std::size_t size_of(DType type);
std::string_view name(DType type);

/// A tensor in C order whose bytes lie in a mapped file or in memory that `owner` keeps alive.
struct Tensor {
  DType type = DType::float32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;

  std::int64_t elements() const;
};

/// Make tensors that own their memory.
Tensor make_tensor(DType type, std::vector<std::int64_t> shape, std::vector<std::byte> bytes);
Tensor make_tensor(std::vector<std::int64_t> shape, std::vector<float> values);
Tensor make_int8_tensor(std::vector<std::int64_t> shape, std::vector<std::int8_t> values);

/// Returns the values as fp32, whatever floating-point or integer type they are stored in.
std::vector<float> to_floats(const Tensor& tensor);

/// Returns the same values in fp32, fp16 or bf16, rounded to nearest even. Throws Error for another type, and for a
/// finite value that would overflow to infinity in fp16.
Tensor convert(const Tensor& tensor, DType type);

/// Tensors by name, in name order.
using TensorMap = std::map<std::string, Tensor>;

/// Formats a shape for messages: "[768, 3, 32, 32]".
std::string format_shape(std::span<const std::int64_t> shape);

}  // namespace gondola
