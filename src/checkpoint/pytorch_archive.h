#pragma once

#include <filesystem>

#include "checkpoint/tensor.h"

namespace gondola {

struct PytorchArchive {
  TensorMap tensors;          ///< by name in the state dict, or by the path of module attributes
  bool torch_script = false;  ///< written by torch.jit.save, as OpenAI's models are
};

/// Reads the tensors of a file written by torch.save (a state dict, or a training checkpoint that holds one as
/// "state_dict", "model_state_dict" or "model") or torch.jit.save. Nothing in it is executed. A prefix "module." that
/// all names share is dropped. Throws Error.
PytorchArchive read_pytorch_archive(const std::filesystem::path& path);

}  // namespace gondola
