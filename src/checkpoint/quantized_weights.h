#pragma once

#include <string>

#include "checkpoint/tensor.h"

namespace gondola {

/// The name of an int8 weight's scales, NAME_scale. A linear layer's weight may be int8 [out, in] with fp32 scales
/// [out, 1]: the "int-quantized" format of compressed-tensors, one scale per output channel.
std::string scale_name(const std::string& weight);

/// Whether any weight is stored as int8.
bool is_quantized(const TensorMap& weights);

/// The scales of the int8 weight `name`. Throws Error when they are missing or do not fit its shape.
const Tensor& scales_of(const TensorMap& weights, const std::string& name);

/// Returns integers · scale, in fp32.
Tensor dequantize(const Tensor& integers, const Tensor& scales);

/// Returns the weights with every int8 one as fp32 and without its scales. Throws Error as scales_of does.
TensorMap dequantize(const TensorMap& weights);

}  // namespace gondola
