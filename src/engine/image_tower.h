#pragma once

#include <cstddef>
#include <memory>

#include "base/thread_pool.h"
#include "config/model_config.h"
#include "engine/cpu_options.h"
#include "engine/team.h"
#include "engine/weights.h"
#include "kernels/kernels.h"

namespace gondola {

/// An image tower with its weights packed for the kernels.
class ImageTower {
 public:
  virtual ~ImageTower() = default;

  /// How many images a thread should take through all layers at a time: enough rows to make good use of a panel of
  /// weights, few enough to fit in the second-level cache.
  virtual std::size_t preferred_batch_size() const = 0;

  /// Floats of memory that forward needs for `images` images on `threads` threads.
  virtual std::size_t workspace_size(std::size_t threads, std::size_t images) const = 0;

  /// pixels: images × 3 × size × size; embeddings: images × embed_dim. Called by every thread of the team, with the
  /// same memory.
  virtual void forward(const Team& team, float* memory, const float* pixels, std::size_t images,
                       float* embeddings) const = 0;
};

std::unique_ptr<ImageTower> make_vision_transformer(const Kernels& kernels, const CpuOptions& options,
                                                    const ModelConfig& config, const Weights& weights,
                                                    ThreadPool& pool);
/// Always computes in fp32.
std::unique_ptr<ImageTower> make_modified_resnet(const Kernels& kernels, const ModelConfig& config,
                                                 const Weights& weights, ThreadPool& pool);

}  // namespace gondola
