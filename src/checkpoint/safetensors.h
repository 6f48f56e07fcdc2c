#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "checkpoint/tensor.h"

namespace gondola {

/// Maps the file and checks every rule of the format (huggingface/safetensors, README "Format"): header at most 100 MB,
/// no duplicate names, the data covered without holes or overlaps, shapes that fit their bytes. Throws Error.
TensorMap read_safetensors(const std::filesystem::path& path);

/// Writes the file atomically. Tensors are sorted by element size, widest first, so that all are aligned when mapped,
/// and by name among equals.
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace gondola
