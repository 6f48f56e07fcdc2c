#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "train/communicator.h"

namespace gondola::test {

/// Runs `work` on `size` ranks, each a thread of this process, and rethrows what any of them throws.
inline void on_ranks(int size, const std::function<void(Communicator&)>& work) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        Communicator communicator(store, rank, size);
        work(communicator);
      } catch (...) {
        errors[static_cast<std::size_t>(rank)] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

/// ‖found − expected‖ / ‖expected‖, in fp64.
inline double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  const auto wide = expected.to(at::kDouble);
  return ((found.to(at::kDouble) - wide).norm() / (wide.norm() + 1e-9)).item<double>();
}

}  // namespace gondola::test
