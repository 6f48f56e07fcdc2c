#pragma once

#include <string>

#include "checkpoint/tensor.h"

namespace gondola {

/// A weight of a linear layer may be stored as integers, int8 [out, in], beside which NAME_scale, fp32 [out, 1], says
/// what a 1 in each row is worth: the "int-quantized" format of compressed-tensors, one scale an output channel.
std::string scale_name(const std::string& weight);

/// Whether any weight is stored so.
bool is_quantized(const TensorMap& weights);

/// The scales of the int8 weight `name`. Throws Error when they are missing or do not fit its shape.
const Tensor& scales_of(const TensorMap& weights, const std::string& name);

/// integers · scale, fp32.
Tensor dequantize(const Tensor& integers, const Tensor& scales);

/// The same weights with every int8 one as fp32 and without scales. Throws Error as scales_of does.
TensorMap dequantize(const TensorMap& weights);

}  // namespace gondola
